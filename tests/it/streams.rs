//! What a stream carries arrives as it was sent, however it is cut, and however slow somebody is.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};

use crate::{MUCH, clean, narrow, soon};

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("there");
    let (server, _) = soon(listener.accept()).await.expect("a connection");
    listener.close().await.expect("closed");
    (client, server)
}

/// Bytes that are nowhere alike.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn single_bytes_arrive_in_order() {
    const COUNT: usize = 50_000;
    clean(async || {
        let (mut client, mut server) = connected().await;
        client.set_nodelay(true).expect("set");
        assert!(client.nodelay().expect("known"));
        let bytes = noise(COUNT);
        let writer = corering::spawn({
            let bytes = bytes.clone();
            async move {
                for byte in bytes {
                    client.write_all([byte]).await.0?;
                }
                client.close().await
            }
        });
        let mut received = Vec::new();
        loop {
            let (read, byte) = soon(server.read([0])).await;
            if read.expect("received") == 0 {
                break;
            }
            received.extend_from_slice(&byte);
        }
        assert!(received == bytes);
        soon(writer).await.expect("no panic").expect("sent");
    });
}

#[test]
fn a_write_that_goes_out_in_many_parts_arrives_whole() {
    clean(async || {
        let (mut client, mut server) = connected().await;
        narrow(&client);
        let bytes = noise(MUCH);
        let writer = corering::spawn({
            let bytes = bytes.clone();
            async move {
                let (written, back) = client.write_all(bytes).await;
                written.map(|()| (back, client))
            }
        });
        let mut received = Vec::with_capacity(bytes.len() + 1);
        while received.len() < bytes.len() {
            let (read, back) = soon(server.read(received)).await;
            received = back;
            assert!(read.expect("received") > 0);
        }
        assert!(received == bytes);
        let (back, _client) = soon(writer).await.expect("no panic").expect("sent");
        assert!(back == bytes, "the buffer comes back as it was");
    });
}

#[test]
fn several_buffers_go_out_in_turn() {
    // A vectored write happens whole only where nothing is cut short.
    let _special = crate::quiet_kernel();
    clean(async || {
        let (mut client, mut server) = connected().await;
        let mut parts = vec![b"one ".to_vec(), Vec::new(), b"two ".to_vec(), b"three".to_vec()];
        let (written, back) = client.write_vectored(parts.clone()).await;
        assert_eq!(written.expect("sent"), 13);
        assert_eq!(back, parts);
        parts.clear();
        drop(client);
        let mut received = Vec::new();
        while let Some(chunk) = soon(server.recv()).await.expect("received") {
            received.extend_from_slice(&chunk);
        }
        assert_eq!(received, b"one two three");
    });
}

#[test]
fn a_slow_reader_holds_the_writer_back_and_gets_everything() {
    const BLOCK: usize = 64 << 10;
    const BLOCKS: usize = 400;
    clean(async || {
        let (mut client, mut server) = connected().await;
        let block = noise(BLOCK);
        let mut expected = DefaultHasher::new();
        (0..BLOCKS).for_each(|_| expected.write(&block));
        let sent = std::rc::Rc::new(std::cell::Cell::new(0));
        let writer = corering::spawn({
            let sent = sent.clone();
            async move {
                let mut block = block;
                for _ in 0..BLOCKS {
                    let written;
                    (written, block) = client.write_all(block).await;
                    written?;
                    sent.set(sent.get() + BLOCK);
                }
                client.close().await
            }
        });
        let (mut received, mut found, mut ahead) = (0, DefaultHasher::new(), 0);
        while let Some(chunk) = soon(server.recv()).await.expect("received") {
            received += chunk.len();
            found.write(&chunk);
            ahead = ahead.max(sent.get().saturating_sub(received));
            if received < 2_000_000 {
                corering::time::sleep(Duration::from_micros(500)).await;
            }
        }
        soon(writer).await.expect("no panic").expect("sent");
        assert_eq!(received, BLOCK * BLOCKS);
        assert_eq!(found.finish(), expected.finish(), "something was changed or swapped");
        // What is under way lies in the sockets, which are bounded, and not with us.
        assert!(ahead < 16 << 20, "the writer was {ahead} bytes ahead");
    });
}

#[test]
fn both_directions_carry_at_once() {
    const LONG: usize = 3 << 20;
    clean(async || {
        let (client, server) = connected().await;
        let tasks: Vec<_> = [client, server]
            .into_iter()
            .map(|stream| {
                corering::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    let writer = corering::spawn(async move { (write.write_all(noise(LONG)).await.0, write) });
                    let mut received = Vec::with_capacity(LONG);
                    while received.len() < LONG {
                        let chunk = read.recv().await.expect("received").expect("not the end");
                        received.extend_from_slice(&chunk);
                    }
                    let (written, write) = writer.await.expect("no panic");
                    written.expect("sent");
                    assert!(received == noise(LONG));
                    read.reunite(write).expect("of one stream").close().await.expect("closed");
                })
            })
            .collect();
        for task in tasks {
            soon(task).await.expect("no panic");
        }
    });
}

#[test]
fn a_reading_buffer_without_room_is_an_error_and_loses_nothing() {
    clean(async || {
        let (mut client, mut server) = connected().await;
        client.write_all("hello").await.0.expect("sent");
        let (read, buffer) = soon(server.read(Vec::new())).await;
        assert_eq!(read.expect_err("no room").kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(buffer.capacity(), 0);
        let (read, buffer) = soon(server.read([0; 3])).await;
        assert_eq!((read.expect("received"), &buffer), (3, b"hel"));
        assert_eq!(&soon(server.recv()).await.expect("received").expect("a chunk")[..], b"lo");
    });
}
