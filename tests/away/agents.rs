//! ssh-agents that do not sign: each is said for what it is, in bounded time, and nothing is written.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::agent::{Agent, Impostor, identities, message};
use crate::support::away::{Elsewhere, text};
use crate::support::{Incident, Ran, Runs, bundle, ssh_keygen};

struct Desk {
    incident: Incident,
    elsewhere: Elsewhere,
    file: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let incident = Incident::new();
        let proposal = incident.propose("pool-size");
        let elsewhere = Elsewhere::new();
        let file = elsewhere.export(&incident, &proposal);
        Self { incident, elsewhere, file }
    }

    fn key(&self, name: &str) -> PathBuf {
        self.incident.state.path(name)
    }

    fn approve(&self, socket: &Path, more: &[&str]) -> Ran {
        let mut command = self.elsewhere.signing(&self.incident, "approve", &self.file, &["--reason", "seen"]);
        command.args(more).env("SSH_AUTH_SOCK", socket).ran()
    }
}

#[test]
fn the_key_that_is_named_signs() {
    let desk = Desk::new();
    let agent = Agent::start();
    let (alice, rsa) = (desk.key("alice"), desk.key("rsa"));
    ssh_keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", text(&rsa)]);
    let public = |key: &Path| format!("{}.pub", text(key));
    let approve = |more: &[&str]| desk.approve(&agent.socket(), more);

    approve(&["--agent"]).expect(1).says("it holds none, or is locked");
    agent.add(&rsa);
    approve(&["--agent"])
        .expect(1)
        .says("it holds no ssh-ed25519 and no hardware key, and keys of kinds that are not taken: ssh-rsa");
    approve(&["--key", &public(&rsa)])
        .expect(1)
        .says("a key of the kind `ssh-rsa`, expected `ssh-ed25519` or a hardware key");
    agent.add(&desk.key("agent"));
    approve(&["--key", &public(&alice)]).expect(1).says("does not hold the key").says("ssh-add");
    // The only ed25519 key that it holds is the proposer's, whose signature does not count.
    approve(&["--agent"]).expect(3).says("the same key signed the proposal");
    agent.add(&alice);
    approve(&["--agent"]).expect(1).says("which of ssh-agent's keys").says("--key FILE.pub");
    approve(&["--agent", "--key", text(&alice)]).expect(1).says("is a private key");
    let before = fs::read(&desk.file).expect("the file is there");
    agent.lock();
    approve(&["--key", &public(&alice)]).expect(1).says("or is locked").says("ssh-add -X");
    assert_eq!(fs::read(&desk.file).expect("the file is there"), before);

    let agent = Agent::start();
    agent.add(&alice);
    agent.add(&desk.key("agent"));
    let approve = |more: &[&str]| desk.approve(&agent.socket(), more);
    approve(&["--key", &public(&alice)]).expect(0);
    approve(&["--agent", "--key", &public(&alice)]).expect(3).says("alice has approved this already");
    fs::write(&desk.file, before).expect("it can be put back");
    approve(&["--agent", "--key", &public(&alice)]).expect(0);
}

/// Proposals and denials are signed by it too.
#[test]
fn an_agent_proposes_and_denies() {
    let desk = Desk::new();
    let agent = Agent::start();
    agent.add(&desk.key("agent"));
    let state = &desk.incident.state;
    let proposed = state
        .command(&["--json", "propose", "--hypothesis", "the pool has no worker", "--agent"])
        .arg(bundle("pool-size"))
        .args(desk.incident.arguments())
        .env("SSH_AUTH_SOCK", agent.socket())
        .ran()
        .expect(0)
        .json();
    let agent = Agent::start();
    agent.add(&desk.key("alice"));
    let proposal = proposed["proposal"].as_str().expect("a proposal");
    let on_host = |arguments: &[&str]| state.command(arguments).env("SSH_AUTH_SOCK", agent.socket()).ran();
    on_host(&["approve", proposal, "--reason", "seen", "--agent"]).expect(0);
    on_host(&["deny", proposal, "--reason", "not today", "--agent"]).expect(0);
    desk.incident.run(proposal).expect(3).says("denied");
    let mut deny =
        desk.elsewhere.command(&["deny", text(&desk.file), "--runner", &state.runner(), "--reason", "no", "--agent"]);
    deny.env("SSH_AUTH_SOCK", agent.socket()).ran().expect(0);
}

#[test]
fn what_is_no_agent_is_said() {
    let desk = Desk::new();
    let before = fs::read(&desk.file).expect("the file is there");
    let runner = desk.incident.state.runner();
    let without = ["approve", text(&desk.file), "--runner", &runner, "--reason", "seen", "--agent"];
    let mut without = desk.elsewhere.command(&without);
    without.ran().expect(1).says("SSH_AUTH_SOCK is not set");
    desk.approve(&desk.key("nowhere"), &["--agent"]).expect(1).says("no ssh-agent answers at");
    desk.approve(&desk.key("alice"), &["--agent"]).expect(1).says("no ssh-agent answers at");
    desk.approve(Path::new(&"x".repeat(200)), &["--agent"]).expect(1).says("no ssh-agent answers at");

    let identities = identities(&desk.key("alice.pub"));
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("it is short").to_be_bytes();
    let signed = |signature: &[u8]| {
        let blob = [&length(b"ssh-ed25519")[..], b"ssh-ed25519", &length(signature), signature].concat();
        message(&[&[14], &length(&blob), &blob])
    };
    for (answers, why) in [
        (vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], "does not speak as an ssh-agent does"),
        (vec![message(&[&[99]])], "does not speak"),
        (vec![message(&[&[12], &[0xff; 4]])], "does not speak"),
        (vec![message(&[&[5]])], "refused to list its keys"),
        (vec![vec![0, 0]], "hung up"),
        (vec![vec![]], "hung up"),
        (vec![vec![0, 0, 0, 0]], "does not speak"),
        (vec![vec![0xff, 0xff, 0xff, 0xff]], "does not speak"),
        (vec![identities.clone(), message(&[&[5]])], "refused to sign"),
        (vec![identities.clone(), message(&[&[14]])], "does not speak"),
        (vec![identities.clone(), signed(&[7; 63])], "no signature by the key"),
        (vec![identities.clone(), signed(&[7; 64])], "no signature by the key"),
        (vec![identities, vec![]], "hung up"),
        // It never answers.
        (vec![], "did not answer within 5 s"),
    ] {
        let impostor = Impostor::start(answers);
        desk.approve(&impostor.socket(), &["--agent"]).expect(1).says(why).says("hint: ");
    }
    assert_eq!(fs::read(&desk.file).expect("the file is there"), before);
    assert!(desk.elsewhere.left_alone());
}
