//! A pod that comes and goes: it serves from the moment it is ready, at a rate that may change, and ends in order.
//! Never serves before it is ready.

use std::future::pending;
use std::rc::Rc;

use nearcache_cli::outcome::Failure;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::{PROGRESS, phase_of};
use crate::fleet::load::Pod;
use crate::fleet::message::{Event, Instruction, Load, Phase, Report, Service};
use crate::machine::{now_ns, resident_bytes};

/// Stream of the random choices of a pod that serves; phases before have lower ones.
const STREAM: u64 = 1 << 16;
/// No pod serves longer.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Does what it is told until it is told to stop, then reports everything it served.
pub(super) async fn serve(
    pod: &Rc<Pod>,
    service: &Service,
    instructions: &mut UnboundedReceiver<Instruction>,
    tell: &mut dyn FnMut(Event),
) -> Result<(), Failure> {
    let mut serving = service.reads_per_s.map(|rate| begin(pod, rate));
    let mut shown = Instant::now() + PROGRESS;
    loop {
        let ended = async {
            match &mut serving {
                Some(load) => load.await,
                None => pending().await,
            }
        };
        let instruction = tokio::select! {
            instruction = instructions.recv() => instruction,
            // It ends by itself only when it cannot be made.
            report = ended => {
                let report = report.map_err(|error| format!("the load ended early: {error}"))?;
                return Err(report.error.unwrap_or_else(|| "the load ended early".to_owned()));
            }
            () = sleep_until(shown) => {
                tell(Event::Progress(pod.progress()));
                shown = Instant::now() + PROGRESS;
                continue;
            }
        };
        match instruction {
            Some(Instruction::Run(phase)) => {
                let report = phase_of(pod, phase, tell).await?;
                tell(Event::Done(Box::new(report)));
            }
            Some(Instruction::Serve(rate)) if serving.is_some() => pod.set_rate(rate),
            Some(Instruction::Serve(rate)) => serving = Some(begin(pod, rate)),
            Some(Instruction::Stop) | None => break,
        }
    }
    pod.end();
    let mut report = match serving {
        Some(load) => load
            .await
            .map_err(|error| format!("the load ended early: {error}"))?,
        None => Report::default(),
    };
    pod.reader().shut_down().await;
    report.resident_bytes = resident_bytes();
    tell(Event::Done(Box::new(report)));
    Ok(())
}

fn begin(pod: &Rc<Pod>, reads_per_pod: f64) -> JoinHandle<Report> {
    let phase = Phase {
        load: Load::Paced,
        start_ns: now_ns(),
        duration_ns: LONGEST_NS,
        stream: STREAM,
        reads_per_pod,
        reads: None,
    };
    spawn_local(pod.run(phase))
}
