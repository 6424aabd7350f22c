//! Names of files: the rule that the gateway and the database check, and the form in which names are
//! compared.

use unicode_normalization::UnicodeNormalization;

/// Characters that turn the direction of the text around them: with them `exe.gpj` is shown as `jpg.exe`.
const DIRECTIONS: [std::ops::RangeInclusive<char>; 2] = ['\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];

/// The name in composed letters (Unicode NFC), which a Mac sends decomposed.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Why a composed name cannot be that of a file; `None`: it can.
pub fn fault(name: &str) -> Option<&'static str> {
    if !(1..=255).contains(&name.len()) || matches!(name, "." | "..") {
        Some("A file name has 1 to 255 bytes, and is neither . nor ..")
    } else if name.contains(|c: char| c == '/' || c.is_control()) {
        Some("A file name has no slash and no control character.")
    } else if name.contains(|c: char| DIRECTIONS.iter().any(|turning| turning.contains(&c))) {
        Some(
            "Rename it without the invisible characters that turn the direction of text: U+202A to U+202E, \
             U+2066 to U+2069.",
        )
    } else {
        None
    }
}

/// Why a composed text cannot be a folder: names joined by slashes, empty at the top; `None`: it can.
pub fn folder_fault(folder: &str) -> Option<&'static str> {
    if folder.is_empty() {
        None
    } else if folder.len() > 1000 || folder.split('/').count() > 32 {
        Some("A folder is at most 32 names deep, with 1000 bytes together.")
    } else if folder.split('/').any(str::is_empty) {
        Some("A folder has one slash between its names, and none at its ends.")
    } else {
        folder.split('/').find_map(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_names_joined_by_slashes() {
        for good in ["", "a", "films/80s", &["x"; 32].join("/"), " /…"] {
            assert_eq!(folder_fault(good), None, "{good}");
        }
        for bad in [
            "/",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/./b",
            "a\n",
            "a/\u{202e}b",
            &["x"; 33].join("/"),
            &["x".repeat(255), "x".repeat(255), "x".repeat(255), "x".repeat(255)].join("/"),
        ] {
            assert!(folder_fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn names_follow_the_rule_of_the_database() {
        for good in ["a", "film.mkv", "…", &"x".repeat(255), " ", "...", "a\\b", "فيلم.mkv", "a\u{200f}b"]
        {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/etc/passwd",
            "a\nb",
            "a\0",
            "\u{85}",
            "film\u{202e}vkm.exe",
            "\u{2066}a\u{2069}",
            &"x".repeat(256),
            &"ü".repeat(128),
        ] {
            assert!(fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_the_same_however_its_letters_are_composed() {
        assert_eq!(composed("U\u{308}berfahrt.bin"), "Überfahrt.bin");
        assert_eq!(composed("Überfahrt.bin"), "Überfahrt.bin");
    }
}
