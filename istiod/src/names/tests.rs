use super::*;
use base::DomainSuffix;
use config::file::{Contents, FileSet};
use std::sync::Mutex;
use xds::{Input, State};

/// Answers of the name server from now on; `None` is none.
type Answer = Arc<Mutex<Option<Vec<IpAddr>>>>;

struct World {
    answer: Answer,
    published: watch::Sender<Arc<Published>>,
    events: mpsc::Receiver<Vec<Event>>,
    _keep: mpsc::Sender<Vec<Event>>,
}

/// A cut in which a network is entered through this name.
fn cut(name: Option<&str>) -> Arc<Published> {
    let address = name.map(|name| format!("status: {{loadBalancer: {{ingress: [{{hostname: {name}}}]}}}}")).unwrap_or_default();
    let text = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: between, namespace: edge, labels: {{topology.istio.io/network: away}}}}
spec: {{type: LoadBalancer, clusterIP: 10.0.0.1, ports: [{{name: tls, port: 15443}}]}}
{address}
"
    );
    let events = FileSet::new(ClusterId::new("Kubernetes")).apply([("service.yaml".into(), Contents::Bytes(text.into()))]);
    let mut state = State::new(DomainSuffix::new("cluster.local"));
    state.turn(events.into_iter().map(Input::Event).collect());
    Arc::new(Published { snapshot: state.snapshot().clone(), ..Published::default() })
}

fn world() -> World {
    let answer: Answer = Arc::default();
    let (published, readable) = watch::channel(cut(None));
    let (sender, events) = mpsc::channel(8);
    let asked = answer.clone();
    let look_up = move |_| {
        let answer = asked.lock().unwrap().clone();
        async move { answer.ok_or_else(|| io::Error::other("no answer")) }
    };
    tokio::spawn(follow(readable, sender.downgrade(), look_up));
    World { answer, published, events, _keep: sender }
}

impl World {
    fn answers(&self, address: Option<&str>) {
        *self.answer.lock().unwrap() = address.map(|address| vec![address.parse().unwrap()]);
    }

    /// The next change; the clock stands still but for what is waited for.
    async fn next(&mut self) -> (String, Vec<String>) {
        let mut batch = self.events.recv().await.unwrap();
        let Change::Addresses { name, addresses } = batch.remove(0).change else { panic!("something else: {batch:?}") };
        (name.to_string(), addresses.iter().map(ToString::to_string).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_until_there_is_another() {
    let mut world = world();
    world.answers(Some("192.0.2.1"));
    world.published.send_replace(cut(Some("east.example.com")));
    assert_eq!(world.next().await, ("east.example.com".into(), vec!["192.0.2.1".into()]));
    let start = Instant::now();
    world.answers(None);
    tokio::time::sleep(INTERVAL * 3).await;
    assert!(world.events.try_recv().is_err(), "a failure takes nothing away");
    world.answers(Some("192.0.2.2"));
    assert_eq!(world.next().await, ("east.example.com".into(), vec!["192.0.2.2".into()]));
    assert!(start.elapsed() <= INTERVAL * 4);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_names_is_forgotten() {
    let mut world = world();
    world.answers(Some("192.0.2.1"));
    world.published.send_replace(cut(Some("east.example.com")));
    world.next().await;
    world.published.send_replace(cut(Some("west.example.com")));
    assert_eq!(world.next().await, ("east.example.com".into(), vec![]));
    assert_eq!(world.next().await, ("west.example.com".into(), vec!["192.0.2.1".into()]));
}
