//! What is done where a call to a target never returns: the command says where things stand, and its process ends.

use std::time::Duration;

use anyhow::Context;
use countersign_pipeline::{CallWatch, GivenUp, RunReport};

use serde_json::json;

use crate::output::{Done, finish};
use crate::render;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Watches the calls of this process until it ends.
pub(crate) fn watch(json: bool, calls: CallWatch) -> anyhow::Result<()> {
    let look = move || {
        loop {
            std::thread::sleep(LOOK);
            if let Some(given_up) = calls.given_up() {
                end(json, given_up);
            }
        }
    };
    std::thread::Builder::new().name("countersign-calls".to_owned()).spawn(look).context("calls cannot be watched")?;
    Ok(())
}

/// Prints what the command came to and ends the process. The thread that made the call is the kernel's for now, and so
/// may be the process, with the locks that it holds, until the call returns.
fn end(json: bool, given_up: GivenUp) -> ! {
    let result = match given_up {
        GivenUp::InDoubt { report, recovering } => {
            crate::output::complain(format_args!("error: {}", report.reason));
            crate::output::complain(
                "hint: nothing more is touched; see why the target hangs, and run `countersign recover` once it answers",
            );
            let object = match recovering {
                // Whatever the command was to do besides, this is what it came to.
                true => {
                    json!({ "runs": [report.to_json()], "settled": [], "resolutions": [], "waiting": [], "stuck": [] })
                }
                false => report.to_json(),
            };
            Ok(done(&report, object))
        }
        GivenUp::Ended(json) => match serde_json::from_value::<RunReport>(json.clone()) {
            Ok(report) => {
                crate::output::note(
                    "what was kept on the target for undo is there still: the next command lets go of it",
                );
                Ok(done(&report, json))
            }
            Err(error) => Err(error.into()),
        },
        GivenUp::Failed(error) => Err(error.into()),
    };
    let code = finish(json, result);
    std::process::exit(code.into())
}

fn done(report: &RunReport, json: serde_json::Value) -> Done {
    Done::new(render::run::text(report), json).with_code(report.exit_code()).acted()
}
