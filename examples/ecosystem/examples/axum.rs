//! An axum application on every core: JSON, state that all cores share, a graceful end.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;

use axum::Router;
use axum::extract::{Json, Path, State};
use axum::routing::{get, post};
use corering::{io, signal};
use corering_ecosystem::web::serve_on_cores;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

#[derive(Serialize, Deserialize)]
struct Numbers {
    numbers: Vec<f64>,
}

#[derive(Serialize)]
struct Sum {
    sum: f64,
    asked_before: u64,
}

async fn sum(State(asked): State<Arc<AtomicU64>>, Json(Numbers { numbers }): Json<Numbers>) -> Json<Sum> {
    Json(Sum { sum: numbers.iter().sum(), asked_before: asked.fetch_add(1, Ordering::Relaxed) })
}

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let served = address.parse().map_err(io::Error::other).and_then(serve);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: SocketAddr) -> io::Result<()> {
    let router = Router::new()
        .route("/hello/{name}", get(async |Path(name): Path<String>| format!("hello, {name}\n")))
        .route("/sum", post(sum))
        .with_state(Arc::<AtomicU64>::default());
    let (stop, _) = watch::channel(false);
    let cores = available_parallelism()?;
    std::thread::scope(|scope| {
        // Signals are the process's: one thread waits for them, on a core of its own.
        let waits = stop.clone();
        scope.spawn(move || {
            let mut ended = waits.subscribe();
            let told = corering::run(async {
                corering::select! {
                    told = signal::shutdown() => told.map(drop),
                    ended = ended.wait_for(|stop| *stop) => { drop(ended); Ok(()) }
                }
            });
            if let Err(error) = told.map_err(io::Error::from).and_then(|told| told) {
                eprintln!("axum: cannot wait for signals, and so ends: {error}");
            }
            waits.send_replace(true);
        });
        let served = serve_on_cores(cores, address, &router, &stop, |address| println!("listening on {address}"));
        stop.send_replace(true);
        served
    })
}
