//! C10: the first attempts to connect. What can heal is waited for until `warm_deadline`; what cannot fails at once.

use nearcache::blocking::NearCache as Blocking;
use nearcache::redis_rs;
use nearcache::{Builder, Error, ErrorKind, NearCache, Phase, WarmEnd};
use nearcache_testkit::{Proxy, Server};

use super::{Stage, eventually, says};

/// A proxy whose server is not there: it accepts, and closes at once.
fn nobody() -> Proxy {
    let mut server = Server::start();
    server.kill();
    Proxy::to_port(server.port())
}

fn at(url: String) -> Builder {
    NearCache::builder().redis(url).backoff_min("10ms")
}

/// Connects while the server is not there, which it is after two attempts.
#[track_caller]
fn comes_up<T: Send>(connect: impl FnOnce(String) -> T + Send) -> T {
    let server = Server::start();
    let proxy = nobody();
    std::thread::scope(|scope| {
        let url = proxy.url();
        let connecting = scope.spawn(|| connect(url));
        // Beside each first attempt that was closed, one more connection asks why.
        eventually("two attempts have failed", || proxy.connections_total() > 3);
        proxy.set_target(server.port());
        connecting.join().unwrap()
    })
}

#[test]
fn c10_a_server_that_comes_up_a_moment_later_is_connected_to() {
    Stage::watch(|| {
        comes_up(|url| works(&at(url).connect_blocking().unwrap()));
        comes_up(|url| {
            works(
                &pollster::block_on(at(url).connect())
                    .unwrap()
                    .into_blocking(),
            )
        });
    });
}

fn works(pod: &Blocking) {
    assert_eq!(pod.get("k").unwrap(), None);
    assert!(failures(pod) > 1, "{} attempts failed", failures(pod));
}

#[test]
fn c16_the_drop_in_waits_for_a_server_that_comes_up_a_moment_later() {
    Stage::watch(|| {
        comes_up(|url| nearcache::blocking::Connection::open(url).unwrap());
        comes_up(|url| pollster::block_on(nearcache::redis::Connection::open(url)).unwrap());
    });
}

#[test]
fn c11_a_pod_warms_from_a_server_that_comes_up_a_moment_later() {
    Stage::watch(|| {
        let server = Server::start();
        let quick = |url: String| at(url).publish_every("100ms").look_every("200ms");
        let old = quick(server.url()).connect_blocking().unwrap();
        old.set("k", "v", nearcache::Ttl::NONE).unwrap();
        (0..5).for_each(|_| drop(old.get("k").unwrap()));
        eventually("it is summed up", || old.stats().totals.merges_total > 2);

        let proxy = Proxy::to(&server);
        proxy.refuse(true);
        let pod = quick(proxy.url()).build().unwrap().into_blocking();
        std::thread::scope(|scope| {
            let ready = scope.spawn(|| pod.ready());
            eventually("an attempt has failed", || failures(&pod) > 0);
            assert!(pod.get("k").is_err(), "calls do not wait for it");
            proxy.refuse(false);
            ready.join().unwrap();
        });
        let report = pod.warm_report().unwrap();
        assert_eq!((report.end, report.keys), (WarmEnd::Complete, 1));
        assert_eq!(pod.readiness().phase, Phase::Ready);
    });
}

fn failures(pod: &Blocking) -> u64 {
    pod.stats().totals.connect_failures_total
}

#[test]
fn c10_a_server_that_is_never_there_is_tried_until_the_deadline() {
    Stage::watch(|| {
        let proxy = nobody();
        let builder = at(proxy.url()).warm_deadline("300ms");
        let error = builder.clone().connect_blocking().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        says(
            &error,
            &["127.0.0.1", "closed", "attempts in 0.3", "warm_deadline"],
        );
        assert!(proxy.connections_total() > 1);

        let pod = builder.build().unwrap().into_blocking();
        pod.ready();
        assert_eq!(pod.warm_report().unwrap().end, WarmEnd::Unreachable);
        assert!(failures(&pod) > 1);
    });
}

#[test]
fn c12_what_cannot_heal_is_tried_once() {
    Stage::watch(|| {
        let server = Server::builder().password("right").start();
        let proxy = Proxy::to_port(server.port());
        let wrong = |proxy: &Proxy| format!("redis://:wrong@127.0.0.1:{}", proxy.port());
        let once = |error: Error, proxy: &Proxy, attempts: u64| {
            assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
            assert_eq!(proxy.connections_total(), attempts, "{error}");
        };
        let builder = at(wrong(&proxy)).backoff_min("2s");
        once(
            builder.clone().connect_blocking().map(drop).unwrap_err(),
            &proxy,
            1,
        );
        once(
            pollster::block_on(builder.clone().connect())
                .map(drop)
                .unwrap_err(),
            &proxy,
            2,
        );
        let pod = builder.build().unwrap().into_blocking();
        pod.ready();
        assert_eq!(pod.warm_report().unwrap().end, WarmEnd::Unreachable);
        assert!(pod.readiness().reason.contains("password"));
        assert_eq!(failures(&pod), 1);
        let refused = nearcache::blocking::Connection::open(wrong(&proxy))
            .map(drop)
            .unwrap_err();
        assert_eq!(refused.kind(), redis_rs::ErrorKind::InvalidClientConfig);
        assert_eq!(proxy.connections_total(), 4);
        // It may log in, and no more.
        let mut writer = server.client();
        writer.ok(&["ACL", "SETUSER", "u", "on", ">pw", "~*", "-@all", "+ping"]);
        let url = format!("redis://u:pw@127.0.0.1:{}", proxy.port());
        let error = at(url).connect_blocking().map(drop).unwrap_err();
        says(&error, &["may not GET", "ACL SETUSER u "]);
        once(error, &proxy, 5);
    });
}
