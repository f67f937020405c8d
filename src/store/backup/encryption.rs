//! Backups that only the holder of a key can read, in the format of [age](https://age-encryption.org/v1): the box needs the
//! public keys alone, and `age --decrypt` opens its backups without the box.

use std::{
    fmt, fs,
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write},
    path::Path,
    str::FromStr,
};

use age::{Decryptor, Encryptor, secrecy::ExposeSecret as _, stream::StreamWriter, x25519};

use super::{
    error::{BackupError, io_fault},
    private_file,
};

/// How every encrypted file begins.
const MAGIC: &[u8] = b"age-encryption.org/";

/// The public keys that backups are encrypted for; with none they are not encrypted.
#[derive(Clone, Default)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// Whether backups are not encrypted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Encrypts what is written, for the recipients and for a key that nobody else has: it reads the file back, and is gone
    /// with the process.
    pub(super) fn encrypt<W: Write>(&self, output: W) -> io::Result<(StreamWriter<W>, BackupKeys)> {
        let reader = x25519::Identity::generate();
        let own = reader.to_public();
        let all = self.0.iter().chain([&own]).map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(all).map_err(io::Error::other)?;
        Ok((encryptor.wrap_output(output)?, BackupKeys(vec![reader])))
    }
}

impl FromStr for Recipients {
    type Err = String;

    /// Reads public keys (`age1…`) with commas between them.
    fn from_str(text: &str) -> Result<Self, String> {
        // What is wrong is not repeated: it may be a secret key.
        let parse = |key: &str| {
            if key.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
                return Err(
                    "holds a secret key; name the public one, age1…, and keep the secret one elsewhere".to_owned()
                );
            }
            x25519::Recipient::from_str(key).map_err(|reason| format!("must be public keys of age, age1… ({reason})"))
        };
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        Ok(Self(keys.map(parse).collect::<Result<_, _>>()?))
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(ToString::to_string)).finish()
    }
}

/// Secret keys that open backups. Never printed.
#[derive(Default)]
pub struct BackupKeys(Vec<x25519::Identity>);

impl BackupKeys {
    /// Reads a file as `age-keygen` writes it: one key a line, and comments.
    ///
    /// # Errors
    /// When it cannot be read, or has something else in it.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let text = fs::read_to_string(path).map_err(io_fault(path))?;
        let wrong = |detail: String| BackupError::NoKey { path: path.to_owned(), detail };
        let lines = text.lines().map(str::trim).enumerate();
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let parse = |(index, line)| {
            let number = usize::saturating_add(index, 1);
            x25519::Identity::from_str(line).map_err(|reason| wrong(format!("line {number}: {reason}")))
        };
        let keys: Vec<_> = keys.map(parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(wrong("it is empty".to_owned())) } else { Ok(Self(keys)) }
    }

    /// Writes a new key to a file that must not exist, readable by its owner only, and returns its public half.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<String, BackupError> {
        let key = x25519::Identity::generate();
        let public = key.to_public().to_string();
        let mut file = private_file(path).map_err(|fault| {
            let exists = fault.kind() == io::ErrorKind::AlreadyExists;
            if exists { BackupError::Exists { path: path.to_owned() } } else { io_fault(path)(fault) }
        })?;
        let text = format!("# opens backups that are encrypted for\n# {public}\n{}\n", key.to_string().expose_secret());
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io_fault(path))?;
        Ok(public)
    }
}

impl fmt::Debug for BackupKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupKeys({})", self.0.len())
    }
}

/// Opens a backup, encrypted or not. What comes out of a file that was changed ends with [`io::ErrorKind::InvalidData`].
pub(super) fn open(path: &Path, keys: &BackupKeys) -> Result<Box<dyn Read>, BackupError> {
    let mut file = BufReader::new(File::open(path).map_err(io_fault(path))?);
    if !file.fill_buf().map_err(io_fault(path))?.starts_with(MAGIC) {
        return Ok(Box::new(file));
    }
    let altered = || BackupError::Altered { path: path.to_owned() };
    let decryptor = Decryptor::new_buffered(file).map_err(|_malformed| altered())?;
    if keys.0.is_empty() {
        return Err(BackupError::Encrypted { path: path.to_owned() });
    }
    match decryptor.decrypt(keys.0.iter().map(|key| key as &dyn age::Identity)) {
        Ok(content) => Ok(Box::new(Authentic(content))),
        Err(age::DecryptError::NoMatchingKeys) => {
            Err(BackupError::WrongKey { path: path.to_owned(), keys: keys.0.len() })
        }
        Err(_malformed) => Err(altered()),
    }
}

/// Every fault of decryption is of one kind, whichever the library chose; those of the disk stay what they are.
struct Authentic<R>(R);

impl<R: Read> Read for Authentic<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|fault| {
            let is_cut = fault.kind() == io::ErrorKind::UnexpectedEof;
            if is_cut { io::Error::new(io::ErrorKind::InvalidData, fault) } else { fault }
        })
    }
}
