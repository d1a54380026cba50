//! An investigation that finds one thing: what came of the call that its arguments name.

#[allow(clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit", "../../../../sdk/wit/step"],
        inline: "
            package countersign:walk;
            world walk {
                include countersign:inert/inert@0.1.0;
                include countersign:step/investigation@0.1.0;
            }
        ",
        generate_all,
    });
}
mod hostile;
mod standard;
mod walk;

use bindings::countersign::step::host;
use bindings::countersign::step::types::Finding;

struct Guest;

impl bindings::Guest for Guest {
    fn investigate() -> Result<Vec<Finding>, String> {
        let arguments = host::arguments();
        let name = arguments.strip_prefix("{\"call\":\"").and_then(|rest| rest.strip_suffix("\"}"));
        let name = name.ok_or("the argument is `call`")?;
        let came = walk::call(name).or_else(|| standard::call(name)).or_else(|| hostile::call(name));
        let detail = came.ok_or("there is no such call")?;
        Ok(vec![Finding { summary: name.to_owned(), detail }])
    }
}

bindings::export!(Guest with_types_in bindings);
