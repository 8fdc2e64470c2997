//! Limits are back-pressure: full queues, completions that overflow, no pooled buffer.

use std::io;

use corering::Builder;
use corering::fs::File;
use corering::net::{TcpListener, TcpStream};
use corering::op::{Completion, Op, Operation, Receiver, Submission, io_uring};
use corering::task::yield_now;

use crate::{clean, clean_on, drop_elsewhere, folder, pair, put_into};

struct Nop(u32);

// SAFETY: a no-op points to nothing.
unsafe impl Operation for Nop {
    type Output = (i32, u32);

    fn submission(&mut self) -> Submission {
        io_uring::opcode::Nop::new().build()
    }

    fn complete(self, completion: Completion) -> (i32, u32) {
        (completion.result, self.0)
    }
}

#[test]
fn more_submissions_than_the_queue_holds_wait_and_all_end() {
    clean_on(Builder::new().entries(8).cq_entries(8), async || {
        let handles: Vec<_> = (0..20_000).map(|number| corering::spawn(Op::new(Nop(number)))).collect();
        for (number, handle) in (0..).zip(handles) {
            assert_eq!(handle.await.expect("no panic"), (0, number));
        }
    });
}

#[test]
fn an_invalid_submission_fails_alone() {
    struct Invalid;
    // SAFETY: it is refused before it does anything, and points to nothing.
    unsafe impl Operation for Invalid {
        type Output = io::Result<u32>;

        fn submission(&mut self) -> Submission {
            io_uring::opcode::Read::new(io_uring::types::Fd(-1), std::ptr::null_mut(), 0).build()
        }

        fn complete(self, completion: Completion) -> io::Result<u32> {
            completion.to_result()
        }
    }
    clean(async || {
        let good: Vec<_> = (0..32).map(|number| corering::spawn(Op::new(Nop(number)))).collect();
        let bad = corering::spawn(Op::new(Invalid));
        let more: Vec<_> = (32..64).map(|number| corering::spawn(Op::new(Nop(number)))).collect();
        assert_eq!(bad.await.expect("no panic").expect_err("refused").raw_os_error(), Some(libc::EBADF));
        for handle in good.into_iter().chain(more) {
            assert_eq!(handle.await.expect("no panic").0, 0);
        }
    });
}

/// 64 connections flood a core that has four buffers, and keep some of what they get.
#[test]
fn a_core_without_free_buffers_goes_on() {
    const CONNECTIONS: u32 = 64;
    const MESSAGES: u32 = 50;
    clean_on(Builder::new().buffers(4, 512), async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                corering::spawn(async move {
                    let mut stream = TcpStream::connect(address).await?;
                    for _ in 0..MESSAGES {
                        stream.write_all(vec![number as u8; 700]).await.0?;
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        let mut servers = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            servers.push(corering::spawn(async move {
                let (mut received, mut kept) = (Vec::new(), Vec::new());
                while let Some(chunk) = stream.recv().await? {
                    received.extend_from_slice(&chunk);
                    if kept.len() < 3 {
                        kept.push(chunk);
                    }
                }
                io::Result::Ok(received)
            }));
        }
        for client in clients {
            client.await.expect("no panic").expect("sent");
        }
        let mut senders = Vec::new();
        for server in servers {
            let received = server.await.expect("no panic").expect("received");
            assert_eq!(received.len(), 700 * MESSAGES as usize);
            assert!(received.iter().all(|byte| *byte == received[0]), "bytes of another connection");
            senders.push(received[0]);
        }
        senders.sort_unstable();
        assert_eq!(senders, (0..CONNECTIONS as u8).collect::<Vec<_>>());
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_core_without_any_buffers_receives_into_memory_of_the_stream() {
    clean_on(Builder::new().buffers(0, 0), async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
        let (mut server, _) = listener.accept().await.expect("a connection");
        client.write_all("hello").await.0.expect("sent");
        let chunk = server.recv().await.expect("received").expect("not the end");
        assert!(!chunk.is_pooled());
        assert_eq!(&chunk[..], b"hello");
        drop(client);
        assert!(server.recv().await.expect("the end").is_none());
        listener.close().await.expect("closed");
    });
}

#[test]
fn a_chunk_dropped_on_another_thread_goes_home() {
    clean(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
        let (mut server, _) = listener.accept().await.expect("a connection");
        for _ in 0..600 {
            client.write_all("x").await.0.expect("sent");
            let chunk = server.recv().await.expect("received").expect("not the end");
            drop_elsewhere(chunk);
        }
        listener.close().await.expect("closed");
    });
}

#[test]
fn reads_that_need_no_waiting_leave_room_for_other_tasks() {
    // Reads that need no waiting are of what stays cached.
    let _special = (crate::quiet_kernel(), crate::tasks_in_order());
    clean(async || {
        let folder = folder();
        let path = folder.join("file");
        put_into(&path, [1; 4096]);
        let file = File::open(&path).await.expect("opened");
        let reads = std::rc::Rc::new(std::cell::Cell::new(0_u32));
        let reader = corering::spawn({
            let reads = reads.clone();
            async move {
                let mut buffer = Vec::with_capacity(64);
                loop {
                    buffer.clear();
                    let read;
                    (read, buffer) = file.read_at(buffer, 0).await;
                    assert_eq!(read.expect("read"), 64);
                    reads.set(reads.get() + 1);
                }
            }
        });
        yield_now().await;
        let mut most = 0;
        for _ in 0..1000 {
            let before = reads.get();
            yield_now().await;
            most = most.max(reads.get() - before);
        }
        assert!(reads.get() > 1000, "it reads: {}", reads.get());
        assert!(most <= 64, "{most} reads went on while another task was ready");
        reader.abort();
        assert!(reader.await.expect_err("aborted").is_cancelled());
    });
}

#[test]
fn buffers_are_brought_in_as_they_are_needed() {
    const CHUNKS: usize = 192;
    clean_on(Builder::new().buffers(256, 64), async || {
        let (socket, mut peer) = pair().await;
        let mut receiver = Receiver::new(socket);
        let mut next =
            async || std::future::poll_fn(|cx| receiver.poll_chunk(cx)).await.expect("received").expect("a chunk");
        let mut held = Vec::new();
        // Three quarters of all buffers may be held, though fewer circulate at first.
        for number in 0..CHUNKS {
            peer.write_all(&[number as u8]).await.expect("room");
            let chunk = next().await;
            assert!(chunk.is_pooled(), "chunk {number} has memory of its own");
            held.push(chunk);
        }
        peer.write_all(&[0]).await.expect("room");
        assert!(!next().await.is_pooled(), "the rest is kept for those who give back at once");
        assert!(held.iter().enumerate().all(|(number, chunk)| chunk[..] == [number as u8]));
    });
}

#[test]
fn a_stream_takes_its_chunks_from_the_pool_that_it_is_told() {
    // Chunks are as large as their pool has them only where nothing is cut short.
    let _special = crate::quiet_kernel();
    clean_on(Builder::new().buffers(8, 64).buffers(8, 4096), async || {
        let (socket, mut peer) = pair().await;
        let mut receiver = Receiver::new(socket);
        for (bytes, expected) in [(0, 64), (0, 64), (100, 4096), (5000, 4096), (64, 64), (65, 4096)] {
            receiver.set_chunk_bytes(bytes);
            peer.write_all(&[1; 4096]).await.expect("room");
            let (mut received, mut first) = (0, None);
            while received < 4096 {
                let chunk =
                    std::future::poll_fn(|cx| receiver.poll_chunk(cx)).await.expect("received").expect("a chunk");
                received += chunk.len();
                first.get_or_insert(chunk.len());
            }
            assert_eq!(first, Some(expected), "for {bytes} bytes");
        }
    });
}
