//! Starts commands inside the node's process namespace.
//!
//! A thread that has unshared it can start no more threads (`clone(2)`: EINVAL), so one thread does
//! nothing but start commands, and the test's own thread stays free.

use std::{
    cell::RefCell,
    io,
    process::{Child, Command},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use nix::sched::{CloneFlags, unshare};

struct Job {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

thread_local! {
    static COMMANDER: RefCell<Option<Sender<Job>>> = const { RefCell::new(None) };
}

/// From now on, commands of this thread start in a process namespace of its own.
pub fn install() -> io::Result<()> {
    let (jobs, queue) = mpsc::channel();
    thread::Builder::new().name("commander".to_owned()).spawn(move || command(&queue))?;
    COMMANDER.set(Some(jobs));
    Ok(())
}

/// No more commands: lets the thread end.
pub fn uninstall() {
    COMMANDER.set(None);
}

fn command(queue: &Receiver<Job>) {
    let ready = unshare(CloneFlags::CLONE_NEWPID);
    while let Ok(Job { mut command, answer }) = queue.recv() {
        let started = match ready {
            Ok(()) => command.spawn(),
            Err(error) => Err(error.into()),
        };
        // A test that has failed meanwhile waits no more.
        let _ = answer.send(started);
    }
}

/// Starts a command: on this test's node, where the thread has one.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    let Some(jobs) = COMMANDER.with_borrow(Clone::clone) else { return command.spawn() };
    let (answer, started) = mpsc::channel();
    let gone = |_| io::Error::other("the commander has ended");
    jobs.send(Job { command, answer }).map_err(|_| io::Error::other("the commander has ended"))?;
    started.recv().map_err(gone)?
}
