use super::*;

fn entries(list: &[(&str, &[u8])]) -> Entries {
    list.iter().map(|(name, bytes)| ((*name).to_owned(), Arc::from(*bytes))).collect()
}

fn two() -> Entries {
    entries(&[("a.json", b"{}"), ("images/00", &[7; 1500])])
}

#[test]
fn what_is_packed_is_unpacked() {
    for list in [entries(&[]), two()] {
        let packed = pack(&list).expect("packed");
        assert_eq!(unpack(&packed).expect("unpacked"), list);
        assert_eq!(packed, pack(&list).expect("packed"));
        assert_eq!(packed.len() % 512, 0);
    }
}

/// Every bit counts: headers, contents, padding and the end.
#[test]
fn every_bit_counts() {
    let packed = pack(&two()).expect("packed");
    for at in 0..packed.len() {
        let mut flipped = packed.clone();
        flipped[at] ^= 1 << (at % 8);
        match unpack(&flipped) {
            Err(_) => {}
            // A content is not the container's to judge: its digest or its signature is.
            Ok(read) => assert_ne!(read, two(), "{at}"),
        }
    }
}

#[test]
fn nothing_may_be_cut_off_or_added() {
    let packed = pack(&two()).expect("packed");
    for length in 0..packed.len() {
        assert!(unpack(&packed[..length]).is_err(), "{length}");
    }
    for more in [&[0][..], &[0; 512], &[0; 10_240], b"x"] {
        assert!(unpack(&[&packed, more].concat()).is_err());
    }
    assert!(unpack(&[&packed[..], &packed].concat()).is_err());
}

/// The same content as other programs would pack it.
#[test]
fn there_is_one_encoding() {
    let build = |change: &dyn Fn(&mut Header), names: &[&str]| {
        let mut builder = Builder::new(Vec::new());
        append(&mut builder, MARK.0, MARK.1).expect("appended");
        for name in names {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(2);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            change(&mut header);
            header.set_cksum();
            builder.append(&header, &b"{}"[..]).expect("appended");
        }
        builder.into_inner().expect("finished")
    };
    assert!(unpack(&build(&|_| {}, &["a", "b"])).is_ok());
    let said = |change: &dyn Fn(&mut Header), names: &[&str]| {
        unpack(&build(change, names)).expect_err("another encoding").to_string()
    };
    for (names, why) in [
        (&["b", "a"][..], "one encoding"),
        (&["a", "a"], "stands twice"),
        (&["/a"], "not a name"),
        (&["../a"], "not a name"),
        (&["a/../b"], "not a name"),
        (&["a//b"], "not a name"),
        (&["./a"], "not a name"),
        (&["a/"], "not a name"),
        (&[".a"], "not a name"),
        (&["A"], "not a name"),
        (&["a\u{202e}b"], "not a name"),
        (&["countersign-proposal"], "stands twice"),
    ] {
        assert!(said(&|_| {}, names).contains(why), "{names:?}: {}", said(&|_| {}, names));
    }
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Directory, EntryType::Fifo, EntryType::GNULongName] {
        assert!(said(&|header| header.set_entry_type(kind), &["a"]).contains("not a regular file"), "{kind:?}");
    }
    let changes: [&dyn Fn(&mut Header); 5] = [
        &|header| header.set_mode(0o755),
        &|header| header.set_uid(1),
        &|header| header.set_mtime(1),
        &|header| header.as_mut_bytes()[265] = b'r',
        &|header| header.as_mut_bytes()[511] = 1,
    ];
    for change in changes {
        assert!(said(change, &["a"]).contains("one encoding"));
    }
    // One that claims to be huge holds nobody up and takes no memory.
    assert!(unpack(&build(&|header| header.set_size(1 << 40), &["a"])).is_err());
}

#[test]
fn what_is_no_export_is_said() {
    for bytes in [&b""[..], b"PK", &[0; 2048], b"countersign-proposal"] {
        assert!(unpack(bytes).expect_err("no export").to_string().contains("not an exported proposal"));
    }
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, MARK.0, b"2\n").expect("appended");
    let other = builder.into_inner().expect("finished");
    assert!(unpack(&other).expect_err("another version").to_string().contains("another version"));
}

#[test]
fn too_much_is_refused() {
    let many: Entries = (0..MAX_ENTRIES).map(|n| (format!("{n}"), Arc::from(&[][..]))).collect();
    assert!(pack(&many).expect_err("too many").to_string().contains("too large"));
}
