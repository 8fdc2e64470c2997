//! The loops of the file workloads: the same for every runtime.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::{Access, Action, Blocks, Done, How, Meter, Offsets, PAGE, SMALL_DEPTH, Until, whole};
use crate::micro::Runtime;
use crate::runtimes::{corering, tokio};

/// What the workloads use of a runtime: what its documentation recommends for that.
pub(crate) trait Files: Runtime {
    type File: 'static;
    /// Bytes that begin at a page, as direct I/O wants them.
    type Block: 'static;

    /// All of it is written, and all of it is read into.
    fn block(bytes: usize) -> Self::Block;
    async fn open(path: &Path, access: Access) -> io::Result<Self::File>;
    /// Says how many bytes of the block were read.
    async fn read_at(file: &Self::File, block: Self::Block, offset: u64) -> (io::Result<usize>, Self::Block);
    /// Says how many bytes of the block were written.
    async fn write_at(file: &Self::File, block: Self::Block, offset: u64) -> (io::Result<usize>, Self::Block);

    /// Opens a file of [`PAGE`] bytes, reads it into the room of an empty buffer, and closes it.
    async fn read_small(path: &Path, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>);
    /// Reads a file of any length, by the one call for that if there is one.
    async fn read_whole(path: &Path) -> io::Result<Vec<u8>>;
    /// Makes a file with that content, and closes it.
    async fn write_small(path: &Path, content: &'static [u8]) -> io::Result<()>;
}

/// Of a small file that is written.
pub(crate) static CONTENT: [u8; PAGE] = [b'x'; PAGE];

macro_rules! with {
    ($runtime:expr, $work:ident($($argument:expr),*)) => {
        match $runtime {
            #[cfg(feature = "peers")]
            "compio" => $work::<crate::runtimes::compio::Local>($($argument),*),
            #[cfg(feature = "peers")]
            "glommio" => $work::<crate::runtimes::glommio::Local>($($argument),*),
            #[cfg(feature = "peers")]
            "monoio" => $work::<crate::runtimes::monoio::Local>($($argument),*),
            "tokio" => $work::<tokio::Local>($($argument),*),
            _ => $work::<corering::Local>($($argument),*),
        }
    };
}

pub(crate) fn blocks(runtime: &str, path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    with!(runtime, blocks_with(path, blocks, time))
}

pub(crate) fn small_files(runtime: &str, how: How, paths: Vec<PathBuf>, time: Duration) -> io::Result<Done> {
    with!(runtime, small_files_with(how, paths, time))
}

pub(crate) fn small_writes(runtime: &str, paths: Vec<PathBuf>) -> io::Result<Done> {
    with!(runtime, small_writes_with(paths))
}

/// What the tasks of a workload share.
struct Shared {
    /// Without one, the work ends by itself.
    until: Option<RefCell<Until>>,
    done: Cell<u64>,
    failure: Cell<Option<io::Error>>,
}

impl Shared {
    fn new(until: Option<Until>) -> Self {
        Self { until: until.map(RefCell::new), done: Cell::new(0), failure: Cell::new(None) }
    }

    fn goes_on(&self) -> bool {
        self.until.as_ref().is_none_or(|until| !until.borrow_mut().is_over())
    }

    /// Counts an operation. One that failed is the last of its task.
    fn count(&self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                self.done.set(self.done.get() + 1);
                true
            }
            Err(error) => {
                self.failure.set(Some(error));
                false
            }
        }
    }

    fn result(&self, meter: Meter) -> io::Result<Done> {
        self.failure.take().map_or_else(|| Ok(meter.stop(self.done.get())), Err)
    }
}

fn blocks_with<F: Files>(path: &Path, blocks: Blocks, time: Duration) -> io::Result<Done> {
    let path = path.to_owned();
    F::block_on(async move {
        let file = Rc::new(F::open(&path, blocks.access).await?);
        let shared = Rc::new((Shared::new(Some(Until::by(time, blocks.bytes))), RefCell::new(blocks.offsets())));
        let meter = Meter::start();
        let tasks: Vec<_> = (0..blocks.depth)
            .map(|_| F::spawn(one_after_the_other::<F>(file.clone(), blocks, shared.clone())))
            .collect();
        for task in tasks {
            task.await;
        }
        shared.0.result(meter)
    })
}

async fn one_after_the_other<F: Files>(file: Rc<F::File>, blocks: Blocks, shared: Rc<(Shared, RefCell<Offsets>)>) {
    let (shared, offsets) = &*shared;
    let mut block = F::block(blocks.bytes);
    while shared.goes_on() {
        let offset = offsets.borrow_mut().next();
        let result;
        (result, block) = match blocks.access.action {
            Action::Read => F::read_at(&file, block, offset).await,
            Action::Write => F::write_at(&file, block, offset).await,
        };
        if !shared.count(result.and_then(|count| whole(count, blocks.bytes))) {
            break;
        }
    }
}

fn small_files_with<F: Files>(how: How, paths: Vec<PathBuf>, time: Duration) -> io::Result<Done> {
    F::block_on(async move {
        let files = Rc::new((paths, Cell::new(0), Shared::new(Some(Until::new(time)))));
        let meter = Meter::start();
        let tasks: Vec<_> = (0..SMALL_DEPTH)
            .map(|_| {
                let files = files.clone();
                F::spawn(async move {
                    let (paths, next, shared) = &*files;
                    let mut buffer = Vec::with_capacity(PAGE);
                    while shared.goes_on() {
                        let number: usize = next.replace(next.get() + 1);
                        let path = &paths[number % paths.len()];
                        let read;
                        match how {
                            How::IntoBuffer => {
                                buffer.clear();
                                (read, buffer) = F::read_small(path, buffer).await;
                            }
                            How::Whole => read = F::read_whole(path).await.map(|content| content.len()),
                        }
                        if !shared.count(read.and_then(|count| whole(count, PAGE))) {
                            break;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        files.2.result(meter)
    })
}

fn small_writes_with<F: Files>(paths: Vec<PathBuf>) -> io::Result<Done> {
    F::block_on(async move {
        let files = Rc::new((paths, Cell::new(0), Shared::new(None)));
        let meter = Meter::start();
        let tasks: Vec<_> = (0..SMALL_DEPTH)
            .map(|_| {
                let files = files.clone();
                F::spawn(async move {
                    let (paths, next, shared) = &*files;
                    while let Some(path) = paths.get(next.replace(next.get() + 1)) {
                        if !shared.count(F::write_small(path, &CONTENT).await) {
                            break;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        files.2.result(meter)
    })
}
