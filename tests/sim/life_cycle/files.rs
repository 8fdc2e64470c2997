//! Files: what was written, cut and synced, and by whom that may have been given up.

use std::ffi::CString;

use corering::buf::IoBuf as _;
use corering::io;
use corering::op::{
    CloseDirect, Descriptor, DirectSlot, Op, OpenAt, OpenDirect, Read, ReadDirect, Readiness, Stat, Sync, Truncate,
    Write, WriteAll, chain,
};

use super::Stage;
use super::ways::{Fate, any_way, any_way_but_cancel, forget};
use crate::cases::{below, pattern};

const MOST: u64 = 600;

struct FileActor {
    stage: Stage,
    path: String,
    file: Descriptor,
    /// What it holds; exact, since every change is over or waits for those before.
    contents: Vec<u8>,
}

/// Changes a file in all ways, and reads it.
pub(super) async fn change_and_read(stage: Stage, number: u64) {
    let path = format!("/changed-{number}");
    stage.host.write_file(&path, &[]).expect("room");
    let open = Op::new(OpenAt::new(c_path(&path), libc::O_RDWR, 0));
    let file = open.await.expect("it is there");
    let mut actor = FileActor { stage, path, file, contents: Vec::new() };
    for step in 1..4 + below(12) as u8 {
        match below(6) {
            0 | 1 => actor.write(step).await,
            2 => actor.cut().await,
            3 => actor.sync().await,
            _ => actor.read().await,
        }
    }
    Op::new(Sync::all(&actor.file)).await.expect("synced");
    actor.check();
    // What was forgotten holds it.
    if !actor.stage.may_forget && below(2) == 0 {
        actor.file.close().await.expect("nobody else holds it");
    }
}

impl FileActor {
    /// What the file holds now, when nothing is in flight.
    fn check(&self) {
        let found = self.stage.host.file(&self.path).expect("it is there");
        assert_eq!(found, self.contents, "{}", self.path);
    }

    async fn write(&mut self, step: u8) {
        let (at, bytes) = (below(MOST), vec![step; 1 + below(200) as usize]);
        let buffer = self.stage.buffers.of(bytes.clone());
        let mut after = self.contents.clone();
        after.resize(after.len().max(at as usize + bytes.len()), 0);
        after[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        if below(4) == 0 {
            let fate = any_way(Op::new(Write::at(&self.file, buffer, at))).await;
            let fate = match fate {
                Fate::Ended((Ok(_) | Err(_), _)) | Fate::NeverOrOrphaned => Fate::NeverOrOrphaned,
                Fate::Never => Fate::Never,
                Fate::Orphaned => Fate::NeverOrOrphaned,
            };
            // It may have been cut short.
            return self.partly(fate, at as usize, after).await;
        }
        match any_way_but_cancel(Op::new(WriteAll::at(&self.file, buffer, at))).await {
            Fate::Ended((result, buffer)) => {
                result.expect("written");
                assert_eq!(buffer.as_slice(), bytes);
                self.contents = after;
                self.check();
            }
            fate => self.wholly(fate, after).await,
        }
    }

    async fn cut(&mut self) {
        let at = below(MOST);
        let mut after = self.contents.clone();
        after.resize(at as usize, 0);
        match any_way_but_cancel(Op::new(Truncate::to(&self.file, at))).await {
            Fate::Ended(result) => {
                result.expect("cut");
                self.contents = after;
                self.check();
            }
            fate => self.wholly(fate, after).await,
        }
    }

    /// A change that was given up has happened wholly, or not at all.
    async fn wholly<T>(&mut self, fate: Fate<T>, after: Vec<u8>) {
        match fate {
            Fate::Ended(_) | Fate::Orphaned => self.contents = after,
            Fate::Never => {}
            Fate::NeverOrOrphaned => {
                self.settle().await;
                let found = self.stage.host.file(&self.path).expect("it is there");
                assert!(found == self.contents || found == after, "{}: half of a change", self.path);
                self.contents = found;
            }
        }
    }

    /// A single write may have been cut short: bytes from `at` on are there, up to some point.
    async fn partly(&mut self, fate: Fate<()>, at: usize, after: Vec<u8>) {
        if let Fate::Never = fate {
            return;
        }
        self.settle().await;
        let found = self.stage.host.file(&self.path).expect("it is there");
        let possible = (at..=after.len()).any(|end| {
            let mut part = self.contents.clone();
            if end > at {
                part.resize(part.len().max(end), 0);
                part[at..end].copy_from_slice(&after[at..end]);
            }
            part == found
        });
        assert!(possible, "{}: neither a part of the write nor all of it", self.path);
        self.contents = found;
    }

    /// Waits until nothing that was dropped can change anything.
    async fn settle(&self) {
        std::future::poll_fn(|cx| self.file.poll_settled(cx)).await;
    }

    async fn sync(&mut self) {
        match any_way_but_cancel(Op::new(Sync::all(&self.file))).await {
            Fate::Ended(result) => {
                result.expect("synced");
                let durable = self.stage.host.durable_file(&self.path);
                assert_eq!(durable.as_ref(), Some(&self.contents), "{}", self.path);
            }
            Fate::Never | Fate::Orphaned | Fate::NeverOrOrphaned => {}
        }
    }

    /// Several reads at once, of which each goes its own way.
    async fn read(&self) {
        if below(4) == 0 {
            self.settle().await;
            self.stage.host.drop_caches();
        }
        let reads = (0..1 + below(4)).map(|_| async {
            let (at, len) = (below(MOST), 1 + below(200) as usize);
            let read = Op::new(Read::at(&self.file, self.stage.buffers.empty(len), at));
            if self.stage.may_forget && below(8) == 0 {
                return forget(read).await;
            }
            let Fate::Ended((result, buffer)) = any_way(read).await else { return };
            let Some(count) = count_or_given_up(result) else { return };
            let there = self.contents.get(at as usize..).unwrap_or(&[]);
            assert!(count == len.min(there.len()) || count > 0, "{}: end of the file too early", self.path);
            assert_eq!(buffer.as_slice(), &there[..count], "{} from {at}", self.path);
        });
        corering::gather_settled(reads).await;
    }
}

/// A count, or that it was cancelled or came too late.
#[track_caller]
pub(super) fn count_or_given_up<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(count) => Some(count),
        Err(error) => {
            let code = error.raw_os_error();
            assert!(matches!(code, Some(libc::ECANCELED | libc::ETIMEDOUT)), "{error}");
            None
        }
    }
}

fn c_path(path: &str) -> CString {
    CString::new(path).expect("no zero byte")
}

/// Opens files and asks what they are, by ordinary and by direct descriptors.
pub(super) async fn open_and_ask(stage: Stage, number: u64) {
    let path = format!("/asked-{number}");
    stage.host.write_file(&path, &pattern(0, 300)).expect("room");
    for _ in 0..2 + below(8) {
        match below(5) {
            0 => open(&stage, &path).await,
            1 => {
                if let Fate::Ended(metadata) = any_way(Op::new(Stat::new(c_path(&path), true))).await {
                    assert!(count_or_given_up(metadata).is_none_or(|metadata| metadata.len() == 300));
                }
            }
            2 => {
                let found = any_way(Op::new(OpenAt::new(c_path("/nothing"), libc::O_RDONLY, 0))).await;
                if let Fate::Ended(Err(error)) = found {
                    let code = error.raw_os_error();
                    let given_up = matches!(code, Some(libc::ECANCELED | libc::ETIMEDOUT));
                    assert!(given_up || code == Some(libc::ENOENT), "{error}");
                }
            }
            _ => direct(&stage, &path).await,
        }
    }
}

async fn open(stage: &Stage, path: &str) {
    let operation = OpenAt::new(c_path(path), libc::O_RDONLY, 0);
    let open = Op::new(if below(2) == 0 { operation.in_worker() } else { operation });
    if stage.may_forget && below(8) == 0 {
        return forget(open).await;
    }
    let Fate::Ended(opened) = any_way(open).await else { return };
    let Some(file) = count_or_given_up(opened) else { return };
    let (at, buffer) = (below(290), stage.buffers.empty(10));
    let read = Op::new(Read::at(&file, buffer, at));
    let ready = Op::new(Readiness::of(&file, libc::POLLIN));
    // Its operations keep it open.
    drop(file);
    let ready = any_way(ready);
    if let (Fate::Ended((result, buffer)), _) = corering::join!(any_way(read), ready) {
        let count = count_or_given_up(result).unwrap_or(0);
        assert_eq!(buffer.as_slice(), pattern(at as usize, count));
    }
}

/// Opens, reads and closes in one chain, which may be given up anywhere.
async fn direct(stage: &Stage, path: &str) {
    let slot = DirectSlot::take().expect("a place");
    let open = Op::new(OpenDirect::new(c_path(path), libc::O_RDONLY, &slot));
    let probe = Op::new(ReadDirect::new(&slot, stage.buffers.empty(40), 20).cached()).always();
    let read = Op::new(ReadDirect::new(&slot, stage.buffers.empty(40), 100)).always();
    let whole = chain((open, probe, read, Op::new(CloseDirect::new(slot))));
    let ended = match below(3) {
        0 => Some(whole.await),
        1 => crate::cases::poll_and_drop(whole, below(5)).await,
        _ => {
            let task = corering::spawn(whole);
            crate::cases::a_moment(100).await;
            task.abort();
            task.await.ok()
        }
    };
    let Some((opened, (probed, first), (got, second), closed)) = ended else { return };
    if opened.is_err() {
        return;
    }
    let probed = probed.unwrap_or(0);
    assert_eq!(first.as_slice(), pattern(20, probed));
    if let Ok(got) = got {
        assert_eq!(second.as_slice(), pattern(100, got));
    }
    drop(closed);
}
