//! The service as a process on a real server: ready, under load, without its server, and ended as Kubernetes ends it.

mod http;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nearcache::fleet_key;
use nearcache_testkit::{Server, Value, eventually};

/// The shop, ended with the test.
struct Shop {
    child: Child,
    address: SocketAddr,
}

impl Shop {
    fn start(server: &Server) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
            .env("NEARCACHE_URL", server.url())
            .env("NEARCACHE_MAX_STALENESS", "300ms")
            .env("LISTEN", "127.0.0.1:0")
            .env("DRAIN_SECONDS", "0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the shop starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            let (_, address) = line.split_once("listening on http://")?;
            address.trim().parse().ok()
        });
        // It must not be kept waiting for somebody to read.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address: address.expect("it says where it listens"),
        }
    }

    fn get(&self, path: &str) -> Option<u16> {
        http::ask(self.address, "GET", path, "").map(|(status, _)| status)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_is_ready_serves_through_an_outage_and_ends_in_order() {
    let mut server = Server::start();
    let mut shop = Shop::start(&server);
    eventually("it is ready", || shop.get("/readyz") == Some(200));
    for id in 0..200 {
        assert_eq!(shop.get(&format!("/products/{}", id % 50)), Some(200));
    }
    assert_eq!(shop.get("/products/123456"), Some(404));

    // Without Redis: products come from the database, and the pod stays in service.
    server.kill();
    for id in 0..100 {
        assert_eq!(shop.get(&format!("/products/{id}")), Some(200));
        assert_eq!(shop.get("/readyz"), Some(200));
    }
    server.restart();
    eventually("carts work again", || {
        let set = http::ask(shop.address, "PUT", "/carts/1/7", "2");
        set.is_some_and(|(status, _)| status == 204)
    });
    for id in 0..200 {
        assert_eq!(shop.get(&format!("/products/{}", id % 50)), Some(200));
    }

    // A client that never hangs up must not hold it up for ever; SIGTERM must reach `shutdown()`.
    shop.signal("TERM");
    let mut code = None;
    eventually("it ends", || {
        code = shop.child.try_wait().expect("it is our child");
        code.is_some()
    });
    assert_eq!(code.and_then(|status| status.code()), Some(0));
    let published = server.client().cmd(&["KEYS", &fleet_key("shop", "*")]);
    let Value::Array(keys) = published else {
        panic!("{published:?}");
    };
    assert!(!keys.is_empty(), "what it read was published");
}
