//! What is left of a core when it has ended: nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use corering::Builder;
use corering::buf::{IoBufMut, Room};
use corering::fs::File;
use corering::net::{TcpListener, TcpStream};

use crate::echo;

/// Counts what is allocated and not freed.
struct Counting;

static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

// SAFETY: hands everything on to the system's allocator, and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(address, layout) };
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Descriptors, threads, mappings and allocations of this process.
fn holdings() -> [isize; 4] {
    let count = |path| std::fs::read_dir(path).expect("there").count() as isize;
    let mappings = std::fs::read_to_string("/proc/self/maps").expect("there").lines().count() as isize;
    [count("/proc/self/fd"), count("/proc/self/task"), mappings, ALLOCATED.load(Ordering::Relaxed)]
}

/// Ends cores with all kinds of things in all kinds of states, and counts before and after.
pub(crate) fn leave_nothing() {
    fn once() {
        let (handle, waker, chunk) = corering::run(async {
            echo(3).await.expect("no error");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let mut client = TcpStream::connect(address).await.expect("there");
            let (mut server, _) = listener.accept().await.expect("a connection");
            // A chunk that outlives the core, and one that was dropped elsewhere and not collected.
            client.write_all("kept").await.0.expect("sent");
            let kept = server.recv().await.expect("received").expect("a chunk");
            client.write_all("dropped").await.0.expect("sent");
            let dropped = server.recv().await.expect("received").expect("a chunk");
            assert!(kept.is_pooled() && dropped.is_pooled());
            // Connections that nobody takes, a receive and a send that wait, timers, a task that is woken from afar.
            let _more = [TcpStream::connect(address).await, TcpStream::connect(address).await];
            corering::spawn(async move { client.recv().await.map(drop) });
            corering::spawn(async move { server.write_all(vec![0; 8 << 20]).await.0 });
            corering::spawn(corering::time::sleep(Duration::from_secs(3600)));
            let (send, receive) = std::sync::mpsc::channel();
            let handle = corering::spawn(async move {
                std::future::poll_fn(|cx| {
                    send.send(cx.waker().clone()).expect("listened to");
                    std::task::Poll::<()>::Pending
                })
                .await;
            });
            drop(corering::spawn(async { panic!("a task that panics") }));
            let text = corering::fs::read("/proc/self/status").await.expect("there");
            assert!(!text.is_empty());
            corering::fs::read("/etc/passwd").await.expect("there");
            corering::task::yield_now().await;
            drop(listener);
            std::thread::spawn(move || drop(dropped)).join().expect("no panic");
            (handle, receive.recv().expect("sent"), kept)
        })
        .expect("io_uring");
        // A handle, a waker and a chunk outlive their core.
        std::thread::spawn(move || waker.wake()).join().expect("no panic");
        assert_eq!(&chunk[..], b"kept");
        std::thread::spawn(move || drop(chunk)).join().expect("no panic");
        drop(handle);
    }
    std::panic::set_hook(Box::new(|_| {}));
    for _ in 0..3 {
        once();
    }
    let settled = |before: [isize; 4]| {
        // Kernel workers of a ring go a moment after it: some may have been there still when it was counted before.
        for _ in 0..200 {
            if holdings().iter().zip(&before).all(|(now, before)| now <= before) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    };
    let before = holdings();
    for _ in 0..20 {
        once();
    }
    let is_settled = settled(before);
    drop(std::panic::take_hook());
    assert!(is_settled, "descriptors, threads, mappings, allocations: {before:?} before, {:?} after", holdings());
    println!("nothing is left");
}

pub(crate) fn end_with_everything_in_flight() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut port = 0;
    for round in 0..20 {
        corering::run(async {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free again");
            port = listener.local_addr().expect("an address").port();
            let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("there");
            let (mut server, _) = listener.accept().await.expect("a connection");
            corering::spawn(async move { listener.accept().await.map(drop) });
            corering::spawn(async move { client.recv().await.map(drop) });
            corering::spawn(async move { server.write_all(vec![0; 64 << 20]).await.0 });
            for _ in 0..100 {
                corering::spawn(corering::time::sleep(Duration::from_secs(3600)));
            }
            let path = directory.path().join(round.to_string());
            let file = corering::fs::File::create(path).await.expect("a file");
            file.write_all_at(vec![1; 1 << 20], 0).await.0.expect("room");
            corering::spawn(async move { file.sync_all().await });
            for _ in 0..3 {
                corering::task::yield_now().await;
            }
        })
        .expect("io_uring");
    }
    println!("ended, and the port is free");
}

/// How many rings the process has open.
fn rings() -> usize {
    let is_ring = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("io_uring"))
    };
    std::fs::read_dir("/proc/self/fd").expect("a list").flatten().filter(is_ring).count()
}

/// Makes cores with so little address space left that the memory of large queues or buffers cannot be mapped.
pub(crate) fn map_too_much() {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")
        .expect("there")
        .split(' ')
        .next()
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    crate::set_limit(libc::RLIMIT_AS, pages * 4096 + (1 << 20));
    let error = Builder::new().buffers(1024, 4096).build().expect_err("four megabytes of buffers");
    assert!(error.to_string().contains("pooled buffers"), "{error}");
    assert_eq!(rings(), 0);
    println!("refused, and no ring is left");
    let runtime = Builder::new().entries(32768).cq_entries(65536).buffers(0, 0).build().expect("smaller queues");
    runtime.block_on(echo(3)).expect("no error");
    println!("made smaller: {} ring", rings());
}

/// Memory that stays when the buffer is dropped: whoever writes there later is found out.
struct Watched(&'static mut [u8]);

impl IoBufMut for Watched {
    fn room(&mut self) -> Room<'_> {
        Room::from(&mut *self.0)
    }

    unsafe fn advance(&mut self, _count: usize) {}
}

/// Reads past the page cache, many at once, and ends the core at once.
pub(crate) fn end_while_the_disk_is_read() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 64;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = directory.path().join("file");
    let file = std::fs::File::create(&path).expect("made");
    for _ in 0..BLOCKS {
        std::io::Write::write_all(&mut &file, &vec![0xaa; BLOCK]).expect("room");
    }
    file.sync_all().expect("synced");
    for round in 0..5 {
        // SAFETY: a new anonymous mapping.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED);
        let address = start as usize;
        let began = corering::run(async {
            let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(&path).await.expect("opened");
            assert!(std::os::fd::AsFd::as_fd(&file).as_raw_fd() > 2);
            let file = std::rc::Rc::new(file);
            for block in 0..BLOCKS {
                // SAFETY: a part of the mapping that nobody else has.
                let memory = unsafe { std::slice::from_raw_parts_mut((address + block * BLOCK) as *mut u8, BLOCK) };
                let file = file.clone();
                corering::spawn(async move { file.read_at(Watched(memory), (block * BLOCK) as u64).await.0 });
            }
            for _ in 0..round {
                corering::task::yield_now().await;
            }
            Instant::now()
        })
        .expect("io_uring");
        assert!(began.elapsed() < Duration::from_secs(2), "the core took {:?} to end", began.elapsed());
        // SAFETY: nothing of the library uses the mapping any more; that is what is looked at.
        let memory = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), BLOCK * BLOCKS) };
        memory.fill(0x55);
        std::thread::sleep(Duration::from_millis(100));
        assert!(memory.iter().all(|byte| *byte == 0x55), "the kernel wrote after the end");
    }
    println!("untouched");
}

/// Ends a core with a connection and an accept, and listens on its port at once.
pub(crate) fn use_a_port_again_and_again() {
    let mut port = 0;
    for _ in 0..300 {
        corering::run(async {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
            port = listener.local_addr().expect("an address").port();
            let client = TcpStream::connect(("127.0.0.1", port)).await.expect("there");
            let (server, _) = listener.accept().await.expect("a connection");
            corering::spawn(async move { listener.accept().await.map(drop) });
            corering::task::yield_now().await;
            drop((client, server));
        })
        .expect("io_uring");
    }
    println!("300 times");
}

/// Drops cores where that is least expected.
pub(crate) fn end_anywhere() {
    /// Owns a core, and ends it in its destructor.
    struct Owner(Option<corering::Runtime>, &'static str);

    impl Drop for Owner {
        fn drop(&mut self) {
            drop(self.0.take());
            println!("{}", self.1);
        }
    }

    let busy = || {
        let runtime = Builder::new().build().expect("io_uring");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            corering::spawn(async move { listener.accept().await.map(drop) });
            corering::spawn(corering::time::sleep(Duration::from_secs(3600)));
            corering::task::yield_now().await;
        });
        runtime
    };
    drop(Owner(Some(busy()), "ended in a destructor"));
    std::panic::set_hook(Box::new(|_| {}));
    let unwound = std::panic::catch_unwind(|| {
        let _owner = Owner(Some(busy()), "ended while a panic unwound");
        panic!("unwinds");
    });
    assert!(unwound.is_err());
    // One that ends while a task of it panics.
    let runtime = busy();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async { panic!("of main") });
    }));
    assert!(unwound.is_err());
    drop(runtime);
    corering::run(echo(1)).expect("io_uring").expect("no error");
    println!("another core");
}
