//! What `wit-bindgen` makes of the capabilities' WIT packages.
//!
//! One world imports every interface. A component imports only those that its step calls: the linker
//! drops the functions that nothing calls, and encoding the component drops the interfaces of which
//! nothing is left.

wit_bindgen::generate!({
    path: ["../wit/step", "../wit/files", "../wit/http", "../wit/process"],
    inline: "
        package countersign:sdk;
        world everything {
            import countersign:step/types@0.1.0;
            import countersign:step/host@0.1.0;
            import countersign:files/types@0.1.0;
            import countersign:files/read@0.1.0;
            import countersign:files/write@0.1.0;
            import countersign:http/types@0.1.0;
            import countersign:http/read@0.1.0;
            import countersign:process/types@0.1.0;
            import countersign:process/read@0.1.0;
            import countersign:process/write@0.1.0;
        }
    ",
    generate_all,
    // Investigations and checks return types that no imported function uses.
    generate_unused_types: true,
    // A library's world must not be linked with exports; this one has none.
    pub_export_macro: true,
    additional_derives: [PartialEq, Eq],
});
