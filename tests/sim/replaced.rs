//! Files that are replaced as a whole, on machines that lose their power at any moment, and on disks that fail.
//!
//! Invariant: what is durable is one version, whole, and none older than what was acknowledged or found before.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corering::fs::{self, AtomicFile};
use corering::op::{Op, Unlink};
use corering::sim::{Call, Host, World};
use corering::{io, sleep};

use crate::cases::{below, seeds, tiny, wild};

const FILE: &str = "/tmp/settings";

/// A version: its number, and as many bytes that tell of it as follow from that.
fn version(number: u32) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..length_of(number)).map(|at| byte_of(number, at)));
    bytes
}

fn length_of(number: u32) -> usize {
    (number.wrapping_mul(0x9e37_79b1) >> 17) as usize % 20_000
}

fn byte_of(number: u32, at: usize) -> u8 {
    (number.wrapping_mul(31).wrapping_add(at as u32).wrapping_mul(0x85eb_ca6b) >> 11) as u8
}

/// The number of a version that is whole.
#[track_caller]
fn number_of(bytes: &[u8]) -> u32 {
    let head = bytes.first_chunk().unwrap_or_else(|| panic!("{} bytes are no version", bytes.len()));
    let number = u32::from_le_bytes(*head);
    assert!(bytes == version(number), "{} bytes are not version {number} as it was written", bytes.len());
    number
}

#[derive(Default)]
struct Progress {
    begun: Cell<u32>,
    /// Acknowledged, or found after a loss of power.
    certain: Cell<u32>,
}

/// Writes one version after the other, for ever: in one piece or in several.
async fn write_versions(progress: Rc<Progress>) -> io::Result<()> {
    // What cannot be removed now can be at the next start.
    drop(remove_leftovers().await);
    loop {
        let number = progress.begun.get() + 1;
        progress.begun.set(number);
        let written =
            if number % 2 == 0 { fs::write_atomic(FILE, version(number)).await } else { in_parts(number).await };
        if written.is_ok() {
            progress.certain.set(number);
        }
    }
}

async fn remove_leftovers() -> io::Result<()> {
    let mut entries = fs::read_dir("/tmp").await?;
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if AtomicFile::is_leftover(entry.path(), Some("settings".as_ref())) {
            let path = CString::new(entry.path().as_os_str().as_encoded_bytes()).expect("no zero byte");
            Op::new(Unlink::file(path)).await?;
        }
    }
    Ok(())
}

async fn in_parts(number: u32) -> io::Result<()> {
    let mut file = AtomicFile::create(FILE).await?;
    for part in version(number).chunks(3_000) {
        file.write_all(part.to_vec()).await.0?;
    }
    file.commit().await
}

#[track_caller]
fn check(host: &Host, progress: &Progress) {
    let certain = progress.certain.get();
    match host.durable_file(FILE) {
        None => assert_eq!(certain, 0, "a version that was acknowledged is gone"),
        Some(bytes) => {
            let number = number_of(&bytes);
            assert!(number >= certain, "version {certain} was certain, and {number} is found");
            assert!(number <= progress.begun.get());
            progress.certain.set(number);
        }
    }
    let names: BTreeSet<_> = host.read_dir("/tmp").unwrap().into_iter().collect();
    let others: Vec<_> = names
        .iter()
        .filter(|name| *name != "settings" && !AtomicFile::is_leftover(Path::new(name), Some("settings".as_ref())))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_loss_of_power_at_any_moment_leaves_one_version_whole() {
    seeds(1_000, |seed| {
        let world = World::new(seed).kernel(wild()).most_turns(1_000_000);
        world
            .run_on(tiny(), async |world| {
                let (host, progress) = (world.host("store"), Rc::new(Progress::default()));
                host.start({
                    let progress = Rc::clone(&progress);
                    move || write_versions(Rc::clone(&progress))
                });
                for _ in 0..6 {
                    sleep(Duration::from_micros(below(1 + (10 << below(12))))).await;
                    if below(3) == 0 {
                        let call = [Call::Sync, Call::Write, Call::Rename, Call::Open][below(4) as usize];
                        host.fail_next(call, libc::EIO);
                        sleep(Duration::from_micros(below(5_000))).await;
                    }
                    host.crash();
                    check(&host, &progress);
                    host.restart();
                }
                io::Result::Ok(())
            })
            .unwrap();
    });
}
