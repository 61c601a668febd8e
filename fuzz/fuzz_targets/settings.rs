//! Settings from any text: a name and a value, or a whole file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearcache::Settings;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(settings) = Settings::from_toml(text) {
        let _ = settings.validate();
    }
    let Some((name, value)) = text.split_once('=') else {
        return;
    };
    let mut settings = Settings::default();
    if settings.set(name, value).is_ok() {
        let shown = settings.get(name).expect("a setting that was set");
        if name != "url" {
            let mut again = Settings::default();
            again.set(name, &shown).expect("what is shown can be set");
            assert_eq!(again.get(name).as_ref(), Some(&shown));
        }
        let _ = settings.validate();
        let _ = (
            settings.max_entry_bytes(),
            settings.untracked_lifetime(),
            settings.heartbeat(),
        );
    }
});
