//! The time of one turn by what changed, by the size of the mesh and by the number of classes.

mod mesh;

use config::Event;
use criterion::{BatchSize, Bencher, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use mesh::Variant;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use xds::State;

/// The allocator of istiod.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Services, and the numbers of classes that are tried with as many. More classes of the largest mesh would take longer
/// than the three minutes that the whole bench may take.
const MESHES: [(usize, &[usize]); 3] = [(100, &[1, 10, 100]), (1_000, &[1, 10, 100]), (10_000, &[1, 10])];

fn stages(criterion: &mut Criterion) {
    for (services, classes) in MESHES {
        let files = mesh::files(services);
        let events = mesh::events(files.clone());
        let mut group = criterion.benchmark_group(format!("{services} services"));
        group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(services as u64));
        group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
        group.bench_function("files decoded", |bencher| {
            bencher.iter_batched(|| files.clone(), mesh::events, BatchSize::PerIteration);
        });
        group.bench_function("objects without proxies", |bencher| bencher.iter_with_large_drop(|| mesh::state(&events)));
        group.finish();
        for classes in classes {
            turns(criterion, services, *classes, &events);
        }
    }
}

fn turns(criterion: &mut Criterion, services: usize, classes: usize, events: &[Event]) {
    let mut group = criterion.benchmark_group(format!("{services} services, {classes} classes"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    group.bench_function("first configuration", |bencher| {
        let first = |mut state: State| {
            let publication = state.turn(mesh::connections(classes));
            (state, publication)
        };
        bencher.iter_batched(|| mesh::state(events), first, BatchSize::PerIteration);
    });
    let mut state = mesh::state(events);
    state.turn(mesh::connections(classes));
    // No proxy runs beside the last endpoint of the last service.
    let (last, old) = (services - 1, Variant::default());
    let change = |new| (mesh::change(last, old, new), mesh::change(last, new, old));
    let kinds = [
        ("endpoint changed", change(Variant { endpoint: 1, ..old })),
        ("VirtualService changed", change(Variant { route: 1, ..old })),
        ("service added", mesh::appearance(mesh::file(services, old))),
        ("namespace added", mesh::appearance(mesh::namespace_file())),
    ];
    for (name, (forth, back)) in &kinds {
        group.bench_function(*name, |bencher| there_and_back(bencher, &mut state, forth, back));
    }
    group.finish();
}

/// Times the turn that brings a change; the one that takes it back is not counted.
fn there_and_back(bencher: &mut Bencher<'_>, state: &mut State, forth: &[Event], back: &[Event]) {
    bencher.iter_custom(|iterations| {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            let batch = mesh::inputs(forth);
            let start = Instant::now();
            let publication = black_box(state.turn(batch));
            total += start.elapsed();
            drop(publication);
            state.turn(mesh::inputs(back));
        }
        total
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
