use super::*;

/// The leaves and roots that the reference implementation of RFC 6962 is tested with.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn roots_are_those_of_the_reference() {
    let mut edge = Edge::default();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(hex::encode(edge.root()), *root, "{size} entries");
        if let Some(leaf) = LEAVES.get(size) {
            edge.append(&hex::decode(leaf).unwrap());
        }
    }
    assert_eq!(edge.size(), 8);
}

#[test]
fn an_edge_is_read_back_as_it_is() {
    let mut edge = Edge::default();
    for size in 0..70_u64 {
        let again = Edge::from_bytes(size, &edge.to_bytes()).unwrap();
        assert_eq!(again, edge);
        edge.append(&size.to_be_bytes());
    }
    for (size, bytes) in [(3, 32), (3, 96), (3, 65), (0, 32), (1, 0), (1, 33)] {
        Edge::from_bytes(size, &vec![0; bytes]).expect_err("hashes that such a tree has not");
    }
}

/// Tiles above the lowest hold roots of full tiles below: each is told once, when it is complete.
#[test]
fn completed_tiles_are_told_with_their_roots() {
    let (mut edge, mut told) = (Edge::default(), Vec::new());
    let mut own = Vec::new();
    for entry in 0..1025_u32 {
        let mut tile = Edge::default();
        told.extend(edge.append(&entry.to_be_bytes()));
        if entry % 256 == 255 {
            (entry - 255..=entry).for_each(|entry| drop(tile.append(&entry.to_be_bytes())));
            own.push(Node { level: 1, index: u64::from(entry / 256), hash: tile.root() });
        }
    }
    assert_eq!(told, own);
    let mut edge = Edge::default();
    let last = (0..65_536_u32).map(|entry| edge.append(&entry.to_be_bytes())).last().unwrap();
    let places: Vec<_> = last.iter().map(|node| (node.level, node.index)).collect();
    assert_eq!(places, [(1, 255), (2, 0)]);
    assert_eq!(last[1].hash, edge.root());
}
