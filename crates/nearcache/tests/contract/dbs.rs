//! Several dbs: one lane for all, entries by db and key, and an invalidation for the key in every db.

use nearcache::Ttl;

use super::{Stage, all, on_both, val};

on_both!(
    trap_one_name_in_two_dbs,
    trap_a_write_in_one_db_and_a_read_in_another,
    c3_copies_and_moves_between_dbs,
);

fn trap_one_name_in_two_dbs(stage: &Stage) {
    let zero = stage.pod();
    let three = zero.with_db(3);
    stage.cmd_in(0, &["SET", "k", "zero"]);
    stage.cmd_in(3, &["SET", "k", "three"]);
    for _ in 0..10 {
        assert_eq!(zero.get("k").unwrap(), val("zero"));
        assert_eq!(three.get("k").unwrap(), val("three"));
        assert_eq!(
            all(zero.get_many(&["k", "l"])).unwrap(),
            [val("zero"), None]
        );
        assert_eq!(
            all(three.get_many(&["l", "k"])).unwrap(),
            [None, val("three")]
        );
    }
    assert_eq!(stage.l2().connections(), 1, "one lane for all");
    assert!(zero.delete("k").unwrap());
    assert_eq!(zero.get("k").unwrap(), None);
    assert_eq!(three.get("k").unwrap(), val("three"));
}

fn trap_a_write_in_one_db_and_a_read_in_another(stage: &Stage) {
    let zero = stage.pod();
    let three = zero.with_db(3);
    // A registration ignores the db: the push of one write must not hide the next from another.
    for round in 0..30 {
        let (low, high) = (format!("low {round}"), format!("high {round}"));
        stage.cmd_in(3, &["SET", "k", &high]);
        zero.fence().unwrap();
        assert_eq!(three.get("k").unwrap(), val(&high));
        stage.cmd_in(0, &["SET", "k", &low]);
        zero.fence().unwrap();
        assert_eq!(zero.get("k").unwrap(), val(&low));
        assert_eq!(three.get("k").unwrap(), val(&high));
        zero.set("k", "own", Ttl::NONE).unwrap();
        assert_eq!(zero.get("k").unwrap(), val("own"));
        assert_eq!(three.get("k").unwrap(), val(&high));
    }
}

fn c3_copies_and_moves_between_dbs(stage: &Stage) {
    let zero = stage.pod();
    let three = zero.with_db(3);
    let mut session = zero.session();
    for round in 0..20 {
        let value = round.to_string();
        zero.set("k", value.clone(), Ttl::NONE).unwrap();
        zero.get("k").unwrap();
        three.get("k").unwrap();
        session
            .command(&["COPY", "k", "k", "DB", "3", "REPLACE"])
            .unwrap();
        assert_eq!(three.get("k").unwrap(), val(&value));
        three.delete("k").unwrap();
        three.get("k").unwrap();
        session.command(&["MOVE", "k", "3"]).unwrap();
        assert_eq!(zero.get("k").unwrap(), None);
        assert_eq!(three.get("k").unwrap(), val(&value));
    }
}
