//! Who else can read a key file. Its mode says it, unless it has an access control list: then the mode shows the list's mask
//! in place of the group's permissions, and the list itself is asked. systemd hands credentials over in such files.

use std::fs::File;

/// Permission bits of a mode, those of others and of a group among them, and the bit that allows to read or write.
const PERMISSIONS: u32 = 0o777;
const OTHERS: u32 = 0o077;
const BEYOND_GROUP: u32 = 0o007;

/// The mode of a file that somebody else than its owner, root and this user can use; none for a private one.
pub(super) fn exposure(file: &File, mode: u32) -> Option<u32> {
    let mode = mode & PERMISSIONS;
    let is_private = mode & OTHERS == 0 || (mode & BEYOND_GROUP == 0 && list_names_only_us(file));
    (!is_private).then_some(mode)
}

#[cfg(target_os = "linux")]
fn list_names_only_us(file: &File) -> bool {
    // Long enough for a hundred names: whose list is longer has others on it.
    let mut list = [0_u8; 1_024];
    let read = rustix::fs::fgetxattr(file, "system.posix_acl_access", &mut list);
    let list = read.ok().and_then(|length| list.get(..length));
    list.is_some_and(|list| names_only(list, rustix::process::geteuid().as_raw()))
}

#[cfg(not(target_os = "linux"))]
fn list_names_only_us(_file: &File) -> bool {
    false
}

/// Whether a list, as Linux stores it (`linux/posix_acl_xattr.h`), lets nobody in but the owner and `user`.
#[cfg(any(target_os = "linux", test))]
fn names_only(list: &[u8], user: u32) -> bool {
    const VERSION: [u8; 4] = [2, 0, 0, 0];
    const OWNER: u16 = 0x01;
    const NAMED_USER: u16 = 0x02;
    /// What a named user or a group can do at most; nobody by itself.
    const MASK: u16 = 0x10;
    let Some(entries) = list.strip_prefix(&VERSION) else { return false };
    let (entries, rest) = entries.as_chunks::<8>();
    let is_ours = |entry: &[u8; 8]| {
        let [tag_low, tag_high, may_low, may_high, id @ ..] = *entry;
        match (u16::from_le_bytes([tag_low, tag_high]), u16::from_le_bytes([may_low, may_high])) {
            (OWNER | MASK, _) | (_, 0) => true,
            (NAMED_USER, _) => u32::from_le_bytes(id) == user,
            _ => false,
        }
    };
    rest.is_empty() && !entries.is_empty() && entries.iter().all(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = vec![2, 0, 0, 0];
        for (tag, may, id) in entries {
            list.extend([tag.to_le_bytes(), may.to_le_bytes()].concat());
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn a_list_is_private_if_it_names_this_user_and_nobody_else() {
        const NOBODY: u32 = u32::MAX;
        // As systemd writes it: root's file, which the service's user may read.
        let systemd = [(0x01, 4, NOBODY), (0x02, 4, 998), (0x04, 0, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)];
        assert!(names_only(&list(&systemd), 998));
        assert!(!names_only(&list(&systemd), 999));
        for other in [(0x02, 4, 999), (0x04, 4, NOBODY), (0x08, 4, 50), (0x20, 4, NOBODY), (0x40, 4, NOBODY)] {
            assert!(!names_only(&list(&[&systemd[..], &[other]].concat()), 998), "{other:?}");
        }
        assert!(!names_only(&[], 998) && !names_only(&[2, 0, 0, 0], 998));
        assert!(
            !names_only(&list(&systemd)[..21], 998) && !names_only(&[&[3][..], &list(&systemd)[1..]].concat(), 998)
        );
    }
}
