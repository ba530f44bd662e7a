use std::cmp::Ordering;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn any_run() -> impl Strategy<Value = RunId> {
    any::<[u8; 16]>().prop_map(RunId::from_bytes)
}

fn any_hash() -> impl Strategy<Value = InputHash> {
    any::<[u8; 32]>().prop_map(|bytes| InputHash::from_digest(Digest::from_bytes(bytes)))
}

fn any_name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9_-]{0,8}".prop_map(|text| text.parse().unwrap())
}

fn any_instance() -> impl Strategy<Value = InstanceName> {
    // Few letters, so that one text is often the beginning of another.
    (any_name(), proptest::option::of("[a\\x000,é]{0,4}"))
        .prop_map(|(stage, coordinates)| InstanceName::new(stage, coordinates))
}

fn any_attempt() -> impl Strategy<Value = AttemptId> {
    (any_run(), any_instance(), any::<u32>()).prop_map(|(run, instance, number)| AttemptId {
        run,
        instance,
        number,
    })
}

proptest! {
    #[test]
    fn round_trip(
        run in any_run(),
        hash in any_hash(),
        number: u64,
        pipeline in any_name(),
        name in any_instance(),
        id in any_attempt(),
    ) {
        prop_assert_eq!(read_run(&self::run(run)), Some(run));
        prop_assert_eq!(read_event(&event(run, number)), Some((run, number)));
        prop_assert_eq!(read_checkpoint(&checkpoint(&hash)), Some(hash));
        prop_assert_eq!(read_dispute(&dispute(&hash, number)), Some((hash, number)));
        prop_assert_eq!(read_instance(&instance(&pipeline, &name)), Some((pipeline.clone(), name.clone())));
        prop_assert_eq!(read_attempt(&attempt(&id)), Some(id.clone()));
        let dead_id = DeadId::from_bytes(*run.as_bytes());
        for kind in DeadKind::ALL {
            let key = dead(&pipeline, &name, kind, dead_id);
            prop_assert_eq!(read_dead(&key), Some((pipeline.clone(), name.clone(), kind, dead_id)));
            prop_assert_eq!(key.len(), dead_prefix(Some(&pipeline), Some(&name)).len() + DEAD_REST);
        }
        let key = id.instance.to_string();
        prop_assert_eq!(read_effect(&effect(id.instance.stage(), &key)), Some((id.instance.stage().clone(), key)));
    }

    #[test]
    fn byte_order_is_the_order_of_what_it_stands_for(
        left in (any_run(), any::<u64>(), any_hash()),
        right in (any_run(), any::<u64>(), any_hash()),
    ) {
        prop_assert_eq!(run(left.0).cmp(&run(right.0)), left.0.cmp(&right.0));
        let order = (left.0, left.1).cmp(&(right.0, right.1));
        prop_assert_eq!(event(left.0, left.1).cmp(&event(right.0, right.1)), order);
        prop_assert_eq!(event(left.0, left.1).cmp(&event(left.0, right.1)), left.1.cmp(&right.1));
        prop_assert_eq!(dispute(&left.2, left.1).cmp(&dispute(&left.2, right.1)), left.1.cmp(&right.1));
        let file = |(_, inode, _): &(RunId, u64, InputHash)| file_row(FileKey { device: 1, inode: *inode });
        prop_assert_eq!(file(&left).cmp(&file(&right)), left.1.cmp(&right.1));
    }

    #[test]
    fn different_things_have_different_keys_and_a_prefix_holds_its_own(
        left in (any_name(), any_instance()),
        right in (any_name(), any_instance()),
        ids in (any_attempt(), any_attempt()),
    ) {
        let (left_key, right_key) = (instance(&left.0, &left.1), instance(&right.0, &right.1));
        prop_assert_eq!(left_key == right_key, left == right);
        prop_assert_eq!(left_key.starts_with(&pipeline(&right.0)), left.0 == right.0);
        prop_assert_eq!(attempt(&ids.0) == attempt(&ids.1), ids.0 == ids.1);
        let order = (ids.0.run, ids.0.number).cmp(&(ids.1.run, ids.1.number));
        prop_assert!(order == Ordering::Equal || attempt(&ids.0).cmp(&attempt(&ids.1)) == order);
    }

    #[test]
    fn any_bytes_are_a_key_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(read_run(&bytes).is_none_or(|read| run(read) == *bytes));
        prop_assert!(read_event(&bytes).is_none_or(|(run, number)| event(run, number) == *bytes));
        prop_assert!(read_dispute(&bytes).is_none_or(|(hash, number)| dispute(&hash, number) == *bytes));
        prop_assert!(read_instance(&bytes).is_none_or(|(name, read)| instance(&name, &read) == bytes));
        prop_assert!(read_effect(&bytes).is_none_or(|(name, key)| effect(&name, &key) == bytes));
        prop_assert!(read_attempt(&bytes).is_none_or(|read| attempt(&read) == bytes));
        prop_assert!(read_occurrence(&bytes).is_none_or(|(name, time, id)| occurrence(&name, time, id) == bytes));
        prop_assert!(read_dead(&bytes).is_none_or(|(name, of, kind, id)| dead(&name, &of, kind, id) == bytes));
    }
}

#[test]
fn golden() {
    let run = RunId::from_bytes(*b"0123456789abcdef");
    let hash = InputHash::from_digest(Digest::from_bytes(*b"0123456789abcdef0123456789ABCDEF"));
    let name = |text: &str| text.parse::<Name>().unwrap();
    let alone = InstanceName::new(name("clean"), None);
    let of_matrix = InstanceName::new(name("by-carrier"), Some("UA,2013".to_owned()));
    let check = |key: &[u8], expect: &[u8]| {
        assert_eq!(key.escape_ascii().to_string(), expect.escape_ascii().to_string());
    };

    check(TALLY, b"\xff");
    check(FORMAT, b"format");
    check(HEAD, b"head");
    check(&self::run(run), b"0123456789abcdef");
    check(&event(run, 0x0102_0304_0506_0708), b"0123456789abcdef\x01\x02\x03\x04\x05\x06\x07\x08");
    check(&definition(hash.digest()), b"0123456789abcdef0123456789ABCDEF");
    check(&checkpoint(&hash), b"0123456789abcdef0123456789ABCDEF");
    check(&dispute(&hash, 258), b"0123456789abcdef0123456789ABCDEF\0\0\0\0\0\0\x01\x02");
    check(&pipeline(&name("flights")), b"\x07flights");
    check(&instance(&name("flights"), &alone), b"\x07flights\x05clean\0");
    check(&instance(&name("flights"), &of_matrix), b"\x07flights\x0aby-carrier\x01UA,2013");
    let id = AttemptId { run, instance: of_matrix.clone(), number: 258 };
    check(&attempt(&id), b"0123456789abcdef\0\0\x01\x02\x0aby-carrier\x01UA,2013");
    let dead_id = DeadId::from_bytes(*b"0123456789abcdef");
    check(
        &dead(&name("flights"), &alone, DeadKind::Record, dead_id),
        b"\x07flights\x05clean\0\x000123456789abcdef",
    );
    check(
        &dead(&name("flights"), &of_matrix, DeadKind::Instance, dead_id),
        b"\x07flights\x0aby-carrier\x01UA,2013\x020123456789abcdef",
    );
    let stage = NoteScope::Stage { pipeline: name("flights"), stage: name("clean") };
    check(&note(&stage, NoteKind::Once, b"key"), b"\0\x07flights\x05clean\0key");
    check(&note(&NoteScope::Named(name("mine")), NoteKind::Seen, b"key"), b"\x01\x04mine\x01key");
    check(
        &note(&NoteScope::Inputs(hash), NoteKind::Generation, b"key"),
        b"\x020123456789abcdef0123456789ABCDEF\x02key",
    );
    check(&note(&NoteScope::Named(name("mine")), NoteKind::Mark, b"key"), b"\x01\x04mine\x03key");
    check(&file_row(FileKey { device: 1, inode: 258 }), b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02");
    check(&effect(&name("flights"), "sales/é"), "\x07flightssales/é".as_bytes());
    check(placed("build/a.csv"), b"build/a.csv");
    check(
        &occurrence(&name("flights"), Timestamp(258), *b"0123456789abcdef"),
        b"\x07flights\x80\0\0\0\0\0\x01\x020123456789abcdef",
    );
    check(
        &occurrence(&name("flights"), Timestamp(-1), *b"0123456789abcdef"),
        b"\x07flights\x7f\xff\xff\xff\xff\xff\xff\xff0123456789abcdef",
    );
}

#[test]
fn families_are_told_apart_by_name_and_number() {
    let names: BTreeSet<&str> = Family::ALL.iter().map(|family| family.name()).collect();
    assert_eq!(names.len(), Family::ALL.len());
    let numbers: Vec<usize> = Family::ALL.iter().map(|family| usize::from(family.number())).collect();
    assert_eq!(
        numbers,
        (0..Family::ALL.len()).collect::<Vec<_>>(),
        "a number is the family's place in a tally"
    );
}
