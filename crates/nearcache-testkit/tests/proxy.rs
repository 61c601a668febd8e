//! Every fault of the proxy, seen by a client behind it.

use std::time::{Duration, Instant};

use nearcache_testkit::{Client, Proxy, Server, Value, eventually};

fn pong() -> Value {
    Value::Simple("PONG".into())
}

fn pair() -> (Server, Proxy) {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    (server, proxy)
}

#[test]
fn bytes_pass_and_are_counted() {
    let (_server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    let big = vec![b'x'; 1_000_000];
    client.ok(&[&b"SET"[..], b"k", &big]);
    assert_eq!(client.ok(&["GET", "k"]), Value::Bulk(big));
    assert_eq!(proxy.connections_total(), 1);
    assert_eq!(proxy.connections(), 1);
    eventually("both megabytes are counted", || {
        proxy.bytes_up_total() > 1_000_000 && proxy.bytes_down_total() > 1_000_000
    });
    assert_eq!(proxy.swallowed_total(), 0);
    drop(client);
    eventually("the connection is gone", || proxy.connections() == 0);
}

#[test]
fn a_half_open_connection_swallows_and_stays() {
    let (server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    client.ok(&["PING"]);
    proxy.half_open();
    client.send(&["SET", "k", "lost"]).unwrap();
    eventually("the command is swallowed", || proxy.swallowed_total() > 0);
    assert_eq!(server.client().ok(&["GET", "k"]), Value::Nil);
    assert_eq!(proxy.connections(), 1);

    proxy.resume();
    let swallowed = proxy.swallowed_total();
    client.send(&["PING"]).unwrap();
    eventually("a stream with a hole stays silent", || {
        proxy.swallowed_total() > swallowed
    });
    let mut fresh = Client::tcp(proxy.port()).unwrap();
    assert_eq!(fresh.ok(&["PING"]), pong());
}

#[test]
fn a_half_open_connection_that_lost_nothing_goes_on() {
    let (_server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    client.ok(&["PING"]);
    proxy.half_open();
    proxy.resume();
    assert_eq!(client.ok(&["PING"]), pong());
}

#[test]
fn the_end_of_a_stream_is_swallowed_too() {
    let (mut server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    client.ok(&["PING"]);
    proxy.half_open();
    server.kill();
    client.send(&["PING"]).unwrap();
    eventually("the client still sends into nothing", || {
        proxy.swallowed_total() > 0
    });
    assert_eq!(proxy.connections(), 1);
    proxy.reset_all();
    assert!(client.recv().is_err());
}

#[test]
fn stalled_bytes_arrive_in_order() {
    let (server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    client.ok(&["PING"]);
    proxy.stall();
    for n in ["1", "2", "3"] {
        client.send(&["ECHO", n]).unwrap();
    }
    assert_eq!(server.client().ok(&["PING"]), pong());
    proxy.resume();
    for n in ["1", "2", "3"] {
        assert_eq!(client.recv().unwrap().text(), n);
    }
    assert_eq!(proxy.swallowed_total(), 0);
}

#[test]
fn stalled_replies_let_commands_through() {
    let (server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    client.ok(&["PING"]);
    proxy.stall_replies();
    client.send(&["SET", "k", "v"]).unwrap();
    let mut direct = server.client();
    eventually("the write is executed", || {
        direct.ok(&["EXISTS", "k"]).int() == 1
    });
    proxy.resume();
    assert_eq!(client.recv().unwrap().text(), "OK");
}

#[test]
fn reset_closes_even_stalled_connections() {
    let (_server, proxy) = pair();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::tcp(proxy.port()).unwrap()).collect();
    clients
        .iter_mut()
        .for_each(|client| drop(client.ok(&["PING"])));
    proxy.stall();
    clients
        .iter_mut()
        .for_each(|client| client.send(&["PING"]).unwrap());
    proxy.reset_all();
    assert!(clients.iter_mut().all(|client| client.recv().is_err()));
    assert_eq!(proxy.connections(), 0);
    proxy.resume();
    assert_eq!(Client::tcp(proxy.port()).unwrap().ok(&["PING"]), pong());
}

#[test]
fn refused_connections_fail_at_once_and_open_ones_live() {
    let (_server, proxy) = pair();
    let mut open = Client::tcp(proxy.port()).unwrap();
    open.ok(&["PING"]);
    for _ in 0..3 {
        proxy.refuse(true);
        assert!(Client::tcp(proxy.port()).is_err());
        assert_eq!(open.ok(&["PING"]), pong());
        proxy.refuse(false);
        assert_eq!(Client::tcp(proxy.port()).unwrap().ok(&["PING"]), pong());
    }
    assert_eq!(proxy.connections_total(), 4);
    proxy.refuse(true);
    drop(proxy);
}

#[test]
fn a_delay_is_added_and_taken_away() {
    let (_server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    client.ok(&["PING"]);
    proxy.delay(Duration::from_millis(20));
    // A lower bound only: nothing here can make the proxy faster than its delay.
    let start = Instant::now();
    client.ok(&["PING"]);
    assert!(start.elapsed() >= Duration::from_millis(40));
    proxy.delay(Duration::from_secs(3600));
    client.send(&["PING"]).unwrap();
    proxy.delay(Duration::ZERO);
    assert_eq!(client.recv().unwrap(), pong());
}

#[test]
fn bytes_arrive_in_pieces() {
    let (_server, proxy) = pair();
    let mut client = Client::tcp(proxy.port()).unwrap();
    proxy.pieces(1, Duration::ZERO);
    let value: Vec<u8> = (0..20_000).map(|at| (at % 251) as u8).collect();
    client.ok(&[&b"SET"[..], b"k", &value]);
    assert_eq!(client.ok(&["GET", "k"]), Value::Bulk(value.clone()));
    // A lower bound only, as above: eleven pieces at least, in two bursts at most.
    proxy.pieces(200, Duration::from_millis(5));
    let start = Instant::now();
    let part = client.ok(&["GETRANGE", "k", "0", "2047"]);
    assert_eq!(part, Value::Bulk(value[..2048].to_vec()));
    assert!(start.elapsed() >= Duration::from_millis(40));
    // A pause that is under way ends with the pieces.
    proxy.pieces(1, Duration::from_secs(3600));
    let before = proxy.bytes_up_total();
    client.send(&["GET", "k"]).unwrap();
    eventually("the first byte has gone through", || {
        proxy.bytes_up_total() == before + 1
    });
    proxy.pieces(0, Duration::ZERO);
    assert_eq!(client.recv().unwrap(), Value::Bulk(value));
}

#[test]
fn a_new_target_takes_the_new_connections() {
    let (one, proxy) = pair();
    let two = Server::start();
    one.client().ok(&["SET", "who", "one"]);
    two.client().ok(&["SET", "who", "two"]);
    let mut old = Client::tcp(proxy.port()).unwrap();
    assert_eq!(old.ok(&["GET", "who"]).text(), "one");
    proxy.set_target(two.port());
    let mut new = Client::tcp(proxy.port()).unwrap();
    assert_eq!(new.ok(&["GET", "who"]).text(), "two");
    assert_eq!(old.ok(&["GET", "who"]).text(), "one");
}

#[test]
fn a_dead_server_behind_the_proxy_ends_the_connection() {
    let (mut server, proxy) = pair();
    server.kill();
    let mut client = Client::tcp(proxy.port()).unwrap();
    assert!(client.try_cmd(&["PING"]).is_err());
    server.restart();
    assert_eq!(Client::tcp(proxy.port()).unwrap().ok(&["PING"]), pong());
}

#[test]
fn the_url_carries_the_password() {
    let server = Server::builder().password("secret").start();
    let proxy = Proxy::to(&server);
    assert_eq!(
        proxy.url(),
        format!("redis://:secret@127.0.0.1:{}", proxy.port())
    );
}
