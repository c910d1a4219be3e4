//! Usage: exit codes, help, and pipes that close early.

use anyhow::{Context as _, Result, ensure};
use veth_tests::{Output, Picture, agent, agent_path, on_node, run, shell};

use crate::{civil, one_line};

#[test]
fn bad_usage_is_one_line_and_exits_2() {
    on_node(|node| {
        let before = Picture::take()?;
        let config = node.file("run.yaml", "listne: 127.0.0.1:1\n")?;
        let bad_time = node.file("time.yaml", "linger: soon\n")?;
        let cases = [
            "frobnicate".to_owned(),
            "--log-level loud list".to_owned(),
            "apply".to_owned(),
            "apply --file".to_owned(),
            "apply -f x --attach magic".to_owned(),
            "apply -f x --max-ends 0".to_owned(),
            "delete".to_owned(),
            "delete -f x y".to_owned(),
            "list -o xml".to_owned(),
            "list everything".to_owned(),
            "run --listen nowhere".to_owned(),
            "run --linger soon".to_owned(),
            format!("run --config {}", config.display()),
            format!("run --config {}", bad_time.display()),
            "run --config /absent".to_owned(),
            "detach".to_owned(),
            "detach --all orange".to_owned(),
            "completions klingon".to_owned(),
        ];
        for case in cases {
            let output = agent(&case)?;
            ensure!(output.code == 2, "{case}: {output:?}");
            ensure!(output.stdout.is_empty(), "{case}: {output:?}");
            one_line(&output).context(case)?;
        }
        before.still_holds()
    });
}

#[test]
fn without_a_command_the_help_is_shown() {
    on_node(|_| {
        let output = agent("")?;
        ensure!(output.code == 2, "{output:?}");
        ensure!(output.stderr.contains("Usage:"), "{output:?}");
        civil(&output)
    });
}

#[test]
fn detaching_from_an_unknown_name_is_refused() {
    on_node(|node| {
        let file = node.file(
            "one.yaml",
            "namespaces: [{ name: orange }]\npairs:\n  - name: p\n    \
             ends:\n      - { interface: a }\n      - { namespace: orange, interface: b }\n",
        )?;
        let applied = agent(&format!("apply -f {}", file.display()))?;
        ensure!(applied.code == 0, "{applied:?}");
        let before = Picture::take()?;
        let output = agent("detach nobody-knows")?;
        ensure!(output.code == 2, "{output:?}");
        let line = one_line(&output)?;
        ensure!(line.contains("nobody-knows") && line.contains("veth-agent list"), "{line}");
        before.still_holds()
    });
}

#[test]
fn help_version_completions_and_manual_are_printed() {
    on_node(|_| {
        for (arguments, word) in [
            ("--help", "Usage:"),
            ("-h", "apply"),
            ("help apply", "--dry-run"),
            ("apply --help", "--dry-run"),
            ("delete --help", "--file"),
            ("list --help", "--output"),
            ("ls --help", "--output"),
            ("run --help", "127.0.0.1:9464"),
            ("detach --help", "--all"),
            ("--version", env!("CARGO_PKG_VERSION")),
            ("completions bash", "complete -F"),
            ("completions zsh", "#compdef veth-agent"),
            ("completions fish", "complete -c veth-agent"),
            ("man", ".TH"),
        ] {
            let output = agent(arguments)?;
            ensure!(output.code == 0, "{arguments}: {output:?}");
            ensure!(output.stdout.contains(word), "{arguments}: {output:?}");
            ensure!(output.stderr.is_empty(), "{arguments}: {output:?}");
        }
        Ok(())
    });
}

/// Runs the agent with `descriptor` being a pipe that nobody reads any more.
fn into_a_closed_pipe(node: &veth_tests::Node, arguments: &str, descriptor: u8) -> Result<Output> {
    let fifo = node.scratch().join("fifo");
    shell(&format!(
        "rm -f {fifo}; mkfifo {fifo}; exec 3<>{fifo}; exec 4>{fifo}; exec 3>&-
         {agent} {arguments} {descriptor}>&4",
        fifo = fifo.display(),
        agent = agent_path().display()
    ))
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    on_node(|node| {
        run("ip link add a0 type veth peer name a1")?;
        let file = node.file("n.yaml", "namespaces: [{ name: orange }]")?;
        let dry_run = format!("apply --dry-run -f {}", file.display());
        for arguments in
            ["list", "list -o wide", "list -o json", &dry_run, "completions bash", "man", "--help"]
        {
            let output = into_a_closed_pipe(node, arguments, 1)?;
            ensure!(output.code == 0, "{arguments}: {output:?}");
            ensure!(output.stderr.is_empty(), "{arguments}: {output:?}");
        }
        let agent = agent_path().display();
        let status = node.scratch().join("status");
        let first = shell(&format!(
            "({agent} list; echo $? >{status}) | head -1",
            status = status.display()
        ))?;
        ensure!(first.stdout.starts_with("PAIR"), "{first:?}");
        ensure!(std::fs::read_to_string(&status)? == "0\n");
        Ok(())
    });
}

#[test]
fn a_listener_that_has_left_changes_no_exit_status() {
    on_node(|node| {
        let file = node.file("n.yaml", "namespaces: [{ name: orange }]")?;
        let apply = format!("apply -f {}", file.display());
        let delete = format!("delete -f {}", file.display());
        for (arguments, code) in
            [(apply.as_str(), 0), (&apply, 0), (&delete, 0), ("list -o xml", 2), ("delete -f /", 2)]
        {
            let output = into_a_closed_pipe(node, arguments, 2)?;
            ensure!(output.code == code, "{arguments}: {output:?}");
        }
        Ok(())
    });
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    on_node(|_| {
        for arguments in ["list", "list -o json", "completions bash", "man"] {
            let output = shell(&format!("{} {arguments} >/dev/full", agent_path().display()))?;
            ensure!(output.code == 1, "{arguments}: {output:?}");
            ensure!(one_line(&output)?.contains("No space left"), "{arguments}: {output:?}");
        }
        Ok(())
    });
}
