use super::*;

fn paths(from: u64, to: u64) -> Vec<String> {
    files_after(from, to).map(|file| path(&file)).collect()
}

#[test]
fn names_are_those_of_the_specification() {
    let tile = |index, width| path(&File { kind: FileKind::Tile(3), index, width });
    assert_eq!(tile(1_234_067, 256), "tile/3/x001/x234/067");
    assert_eq!(tile(0, 256), "tile/3/000");
    assert_eq!(tile(1000, 1), "tile/3/x001/000.p/1");
    assert_eq!(path(&File { kind: FileKind::Bundle, index: 273, width: 112 }), "tile/entries/273.p/112");
}

/// The specification's own example of a tree of 70,000.
#[test]
fn a_tree_has_the_tiles_of_the_specification() {
    let files: Vec<_> = files_after(0, 70_000).collect();
    let count = |kind, full: bool| files.iter().filter(|file| file.kind == kind && file.is_full() == full).count();
    let width = |kind| files.iter().find(|file| file.kind == kind && !file.is_full()).map(|file| file.width);
    assert_eq!((count(FileKind::Tile(0), true), width(FileKind::Tile(0))), (273, Some(112)));
    assert_eq!((count(FileKind::Bundle, true), width(FileKind::Bundle)), (273, Some(112)));
    assert_eq!((count(FileKind::Tile(1), true), width(FileKind::Tile(1))), (1, Some(17)));
    assert_eq!((count(FileKind::Tile(2), true), width(FileKind::Tile(2))), (0, Some(1)));
    assert_eq!(width(FileKind::Tile(3)), None);
    assert_eq!(paths(0, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
}

#[test]
fn what_was_there_before_does_not_come_again() {
    assert_eq!(paths(5, 5), [""; 0]);
    assert_eq!(paths(0, 0), [""; 0]);
    assert_eq!(paths(5, 6), ["tile/entries/000.p/6", "tile/0/000.p/6"]);
    assert_eq!(paths(255, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(256, 257), ["tile/entries/001.p/1", "tile/0/001.p/1"]);
    assert_eq!(
        paths(200, 513),
        [
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/1",
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/1",
            "tile/1/000.p/2"
        ]
    );
}

#[test]
fn entries_stand_after_their_lengths() {
    assert_eq!(bundle(&[&b"ab"[..], b""]).unwrap(), [0, 2, b'a', b'b', 0, 0]);
    assert_eq!(bundle(&[vec![0; MAX_ENTRY]]).unwrap().len(), MAX_ENTRY + 2);
    assert_eq!(bundle(&[vec![0; MAX_ENTRY + 1]]), Err(TooLong { size: MAX_ENTRY + 1 }));
}

/// What is full is left alone; the right edge is always there.
#[test]
fn the_right_edge_is_in_partial_files() {
    let paths = |size| partial_files(size).map(|file| path(&file)).collect::<Vec<_>>();
    assert_eq!(paths(0), [""; 0]);
    assert_eq!(paths(3), ["tile/entries/000.p/3", "tile/0/000.p/3"]);
    assert_eq!(paths(256), ["tile/1/000.p/1"]);
    assert_eq!(paths(513), ["tile/entries/002.p/1", "tile/0/002.p/1", "tile/1/000.p/2"]);
    assert_eq!(paths(65_536), ["tile/2/000.p/1"]);
    for size in [1, 255, 256, 300, 65_535, 65_537, 70_000] {
        let mut all: Vec<_> = files_after(0, size).filter(|file| !file.is_full()).collect();
        let mut edge: Vec<_> = partial_files(size).collect();
        all.sort();
        edge.sort();
        assert_eq!(edge, all, "{size}");
    }
}
