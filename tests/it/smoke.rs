//! First light.

use std::time::Duration;

use corering::net::{TcpListener, TcpStream};

use crate::{folder, run};

#[test]
fn echo_round_trip() {
    run(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        corering::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                corering::spawn(async move {
                    while let Some(chunk) = stream.recv().await.unwrap() {
                        stream.write_all(chunk).await.0.unwrap();
                    }
                });
            }
        });
        let mut client = TcpStream::connect(addr).await.unwrap();
        for i in 0..100 {
            client.write_all(vec![i as u8; 100]).await.0.unwrap();
            let mut got = Vec::with_capacity(100);
            while got.len() < 100 {
                let (n, b) = client.read(got).await;
                got = b;
                assert!(n.unwrap() > 0);
            }
            assert_eq!(got, vec![i as u8; 100]);
        }
        corering::time::sleep(Duration::from_millis(5)).await;
    });
}

#[test]
fn files() {
    run(async || {
        let dir = folder();
        let path = dir.join("a");
        corering::fs::write(&path, "hello").await.unwrap();
        assert_eq!(corering::fs::read(&path).await.unwrap(), b"hello");
        assert_eq!(corering::fs::metadata(&path).await.unwrap().len(), 5);
        let big = vec![7u8; 300_000];
        corering::fs::write(&path, big.clone()).await.unwrap();
        assert_eq!(corering::fs::read(&path).await.unwrap(), big);
        assert_eq!(corering::fs::read(dir.join("none")).await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
}
