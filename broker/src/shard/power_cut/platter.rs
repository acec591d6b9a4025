//! What a disk may hold when the power goes: as little as it must, or anything up to all of it.
//!
//! What was written before a sync of its file began is certain when the sync is done; so are names
//! when their folder's is. Of all else each sector of 512 bytes has what it had, or what any later
//! write left there, or, rarely, a part of each; a file has any length it had, and zeros where
//! nothing came; of the names of a folder those that changed have changed up to some moment, or
//! each on its own.
//!
//! Knows: a tape. Does not know: what is in the files.

use super::random::Random;
use crate::disk::tape::{Change, ChangeNumber, Event, FileNumber};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const SECTOR_BYTES: usize = 512;

/// Syncs that a disk says it did, and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    Nothing,
    /// Those of files.
    Files,
    /// Those of folders.
    Folders,
}

/// See the head of this file.
pub(super) struct Platter {
    root: PathBuf,
    ignored: Ignored,
    files: Vec<File>,
    /// The first is the data path.
    folders: Vec<Folder>,
    by_number: HashMap<FileNumber, usize>,
    begun: HashMap<ChangeNumber, Begun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Default)]
struct File {
    /// What is there for certain.
    certain: Vec<u8>,
    /// What was done to it since, in order.
    pending: Vec<Pending<Content>>,
}

#[derive(Default)]
struct Folder {
    names: BTreeMap<String, Node>,
    certain: BTreeMap<String, Node>,
    pending: Vec<Pending<Name>>,
}

struct Pending<T> {
    change: ChangeNumber,
    is_done: bool,
    what: T,
}

enum Content {
    Write(usize, Vec<u8>),
    Resize(usize),
}

enum Name {
    Put(String, Node),
    Rename(String, String),
    Remove(String),
}

/// A change that has not ended.
enum Begun {
    Content(usize),
    Name(usize),
    /// A file that was made, or opened.
    Open {
        folder: usize,
        file: usize,
    },
    /// What it is about, and what was done before.
    SyncFile(usize, BTreeSet<ChangeNumber>),
    SyncFolder(usize, BTreeSet<ChangeNumber>),
}

/// Files, and folders without bytes, by their paths from the data path.
pub(super) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Platter {
    /// A disk with what `image` has; nothing of it can be lost. `numbers` are the files' on the tape.
    pub(super) fn new(
        root: &Path,
        image: &Image,
        numbers: &BTreeMap<PathBuf, FileNumber>,
        ignored: Ignored,
    ) -> Self {
        let mut platter = Self {
            root: root.to_owned(),
            ignored,
            files: Vec::new(),
            folders: vec![Folder::default()],
            by_number: HashMap::new(),
            begun: HashMap::new(),
        };
        for (path, bytes) in image {
            let (folder, name) = platter.place(&root.join(path));
            let node = match bytes {
                Some(bytes) => {
                    platter.files.push(File { certain: bytes.clone(), pending: Vec::new() });
                    let file = platter.files.len() - 1;
                    platter.by_number.insert(numbers[path], file);
                    Node::File(file)
                }
                None => platter.new_folder(),
            };
            let folder = &mut platter.folders[folder];
            folder.names.insert(name.clone(), node);
            folder.certain.insert(name, node);
        }
        platter
    }

    fn new_folder(&mut self) -> Node {
        self.folders.push(Folder::default());
        Node::Folder(self.folders.len() - 1)
    }

    /// The folder that a path is in, and its name there.
    fn place(&self, path: &Path) -> (usize, String) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (self.folder(path.parent().unwrap()), name)
    }

    fn folder(&self, path: &Path) -> usize {
        let inside = path.strip_prefix(&self.root).unwrap();
        inside.iter().fold(0, |folder, name| {
            let node = self.folders[folder].names.get(name.to_str().unwrap());
            let Some(&Node::Folder(folder)) = node else { panic!("{path:?} is no folder") };
            folder
        })
    }

    /// What happens next.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Begun(number, change) => self.begin(*number, change),
            Event::Done(number, file) => self.done(*number, *file),
            Event::Refused(number) => self.refused(*number),
        }
    }

    fn begin(&mut self, change: ChangeNumber, what: &Change) {
        let begun = match what {
            Change::Create { path, empties, .. } => self.open(change, path, *empties),
            Change::CreateFolder(path) => {
                let (folder, name) = self.place(path);
                let node = self.new_folder();
                self.begin_name(change, folder, Name::Put(name, node))
            }
            Change::Write { file, offset, bytes } => {
                let offset = usize::try_from(*offset).unwrap();
                self.begin_content(change, *file, Content::Write(offset, bytes.clone()))
            }
            Change::Resize { file, length } => {
                let length = usize::try_from(*length).unwrap();
                self.begin_content(change, *file, Content::Resize(length))
            }
            Change::Rename { from, to } => {
                let ((folder, from), (other, to)) = (self.place(from), self.place(to));
                assert_eq!(folder, other, "a rename stays in its folder");
                self.begin_name(change, folder, Name::Rename(from, to))
            }
            Change::Remove(path) => {
                let (folder, name) = self.place(path);
                self.begin_name(change, folder, Name::Remove(name))
            }
            Change::Sync(file) => {
                let file = self.by_number[file];
                Begun::SyncFile(file, done_of(&self.files[file].pending))
            }
            Change::SyncFolder(path) => {
                let folder = self.folder(path);
                Begun::SyncFolder(folder, done_of(&self.folders[folder].pending))
            }
        };
        self.begun.insert(change, begun);
    }

    fn open(&mut self, change: ChangeNumber, path: &Path, empties: bool) -> Begun {
        let (folder, name) = self.place(path);
        if let Some(&Node::File(file)) = self.folders[folder].names.get(&name) {
            if empties {
                let what = Content::Resize(0);
                self.files[file].pending.push(Pending { change, is_done: false, what });
                return Begun::Content(file);
            }
            return Begun::Open { folder, file };
        }
        self.files.push(File::default());
        let file = self.files.len() - 1;
        let what = Name::Put(name, Node::File(file));
        self.folders[folder].pending.push(Pending { change, is_done: false, what });
        Begun::Open { folder, file }
    }

    fn begin_content(&mut self, change: ChangeNumber, file: FileNumber, what: Content) -> Begun {
        let file = self.by_number[&file];
        self.files[file].pending.push(Pending { change, is_done: false, what });
        Begun::Content(file)
    }

    fn begin_name(&mut self, change: ChangeNumber, folder: usize, what: Name) -> Begun {
        self.folders[folder].pending.push(Pending { change, is_done: false, what });
        Begun::Name(folder)
    }

    fn done(&mut self, change: ChangeNumber, number: Option<FileNumber>) {
        match self.begun.remove(&change).expect("what ends has begun") {
            Begun::Content(file) => note_done(&mut self.files[file].pending, change),
            Begun::Name(folder) => self.folders[folder].done(change),
            Begun::Open { folder, file } => {
                self.by_number.insert(number.unwrap(), file);
                self.folders[folder].done(change);
            }
            Begun::SyncFile(file, before) if self.ignored != Ignored::Files => {
                self.files[file].keep(&before);
            }
            Begun::SyncFolder(folder, before) if self.ignored != Ignored::Folders => {
                self.folders[folder].keep(&before);
            }
            Begun::SyncFile(..) | Begun::SyncFolder(..) => {}
        }
    }

    fn refused(&mut self, change: ChangeNumber) {
        match self.begun.remove(&change).expect("what ends has begun") {
            Begun::Name(folder) | Begun::Open { folder, .. } => {
                self.folders[folder].pending.retain(|pending| pending.change != change);
            }
            Begun::Content(_) => panic!("a write was refused, of which a part may be done"),
            Begun::SyncFile(..) | Begun::SyncFolder(..) => {}
        }
    }

    /// How much of what was done is not certain.
    pub(super) fn uncertain(&self) -> usize {
        self.files.iter().map(|file| file.pending.len()).sum::<usize>()
            + self.folders.iter().map(|folder| folder.pending.len()).sum::<usize>()
    }

    /// What is there as long as the power is.
    pub(super) fn image(&self) -> Image {
        let names: Vec<_> = self.folders.iter().map(|folder| folder.names.clone()).collect();
        let contents: Vec<_> = self.files.iter().map(File::now).collect();
        image_of(&names, &contents)
    }

    /// What is there whatever is lost.
    pub(super) fn certain(&self) -> Image {
        let names: Vec<_> = self.folders.iter().map(|folder| folder.certain.clone()).collect();
        let contents: Vec<_> = self.files.iter().map(|file| file.certain.clone()).collect();
        image_of(&names, &contents)
    }

    /// What is found when the power comes back.
    pub(super) fn cut_power(&self, random: &mut Random) -> Image {
        let mode = *random.choose(&[Loss::All, Loss::Some, Loss::Some, Loss::Nothing]);
        let names: Vec<_> = self.folders.iter().map(|folder| folder.found(mode, random)).collect();
        let mode = *random.choose(&[Loss::All, Loss::Some, Loss::Some, Loss::Nothing]);
        let contents: Vec<_> = self.files.iter().map(|file| file.found(mode, random)).collect();
        image_of(&names, &contents)
    }
}

/// What is lost of all that is not certain.
#[derive(Clone, Copy, Debug)]
enum Loss {
    All,
    Some,
    Nothing,
}

fn done_of<T>(pending: &[Pending<T>]) -> BTreeSet<ChangeNumber> {
    pending.iter().filter(|pending| pending.is_done).map(|pending| pending.change).collect()
}

fn note_done<T>(pending: &mut [Pending<T>], change: ChangeNumber) {
    if let Some(pending) = pending.iter_mut().find(|pending| pending.change == change) {
        pending.is_done = true;
    }
}

impl Folder {
    fn done(&mut self, change: ChangeNumber) {
        note_done(&mut self.pending, change);
        if let Some(pending) = self.pending.iter().find(|pending| pending.change == change) {
            pending.what.apply(&mut self.names);
        }
    }

    fn keep(&mut self, before: &BTreeSet<ChangeNumber>) {
        let Self { certain, pending, .. } = self;
        pending.retain(|pending| {
            let is_kept = before.contains(&pending.change);
            if is_kept {
                pending.what.apply(certain);
            }
            !is_kept
        });
    }

    fn found(&self, mode: Loss, random: &mut Random) -> BTreeMap<String, Node> {
        let mut names = self.certain.clone();
        let kept = match mode {
            Loss::All => 0,
            Loss::Nothing => self.pending.len(),
            Loss::Some => random.below(self.pending.len() + 1),
        };
        // A journal keeps them in order. Without one, what happened to one name happened in order,
        // and other names know nothing of it.
        let is_in_order = random.below(2) == 0;
        let mut lost = BTreeSet::new();
        for (at, Pending { what, .. }) in self.pending.iter().enumerate() {
            let is_possible = what.names().all(|name| !lost.contains(name));
            let is_kept = match mode {
                Loss::Some if !is_in_order => random.below(2) == 0,
                _ => at < kept,
            };
            if is_possible && is_kept {
                what.apply(&mut names);
            } else {
                lost.extend(what.names().cloned());
            }
        }
        names
    }
}

impl Name {
    fn names(&self) -> impl Iterator<Item = &String> {
        let (first, second) = match self {
            Self::Put(name, _) | Self::Remove(name) => (name, None),
            Self::Rename(from, to) => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Put(name, node) => drop(names.insert(name.clone(), *node)),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl Content {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Resize(length) => bytes.resize(*length, 0),
        }
    }
}

impl File {
    fn keep(&mut self, before: &BTreeSet<ChangeNumber>) {
        let Self { certain, pending } = self;
        pending.retain(|pending| {
            let is_kept = before.contains(&pending.change);
            if is_kept {
                pending.what.apply(certain);
            }
            !is_kept
        });
    }

    fn now(&self) -> Vec<u8> {
        let mut bytes = self.certain.clone();
        for pending in self.pending.iter().filter(|pending| pending.is_done) {
            pending.what.apply(&mut bytes);
        }
        bytes
    }

    fn found(&self, mode: Loss, random: &mut Random) -> Vec<u8> {
        match mode {
            _ if self.pending.is_empty() => self.certain.clone(),
            Loss::All => self.certain.clone(),
            Loss::Nothing => self.now(),
            Loss::Some => self.found_in_part(random),
        }
    }

    fn found_in_part(&self, random: &mut Random) -> Vec<u8> {
        let mut versions = vec![self.certain.clone()];
        for Pending { what, .. } in &self.pending {
            let mut next = versions.last().expect("there is one").clone();
            what.apply(&mut next);
            versions.push(next);
        }
        let length = random.choose(&versions).len();
        let mut found = vec![0; length];
        for (at, sector) in found.chunks_mut(SECTOR_BYTES).enumerate() {
            let version: &Vec<u8> = random.choose(&versions);
            copy_sector(version, sector, at);
            if random.below(16) == 0 {
                let torn = random.below(sector.len() + 1);
                let version: &Vec<u8> = random.choose(&versions);
                copy_sector(version, &mut sector[..torn], at);
            }
        }
        found
    }
}

/// Fills (a part of) a sector with what a file has there.
fn copy_sector(from: &[u8], sector: &mut [u8], at: usize) {
    let from = from.get(at * SECTOR_BYTES..).unwrap_or_default();
    let bytes = from.len().min(sector.len());
    sector[..bytes].copy_from_slice(&from[..bytes]);
    sector[bytes..].fill(0);
}

fn image_of(names: &[BTreeMap<String, Node>], contents: &[Vec<u8>]) -> Image {
    let mut image = Image::new();
    let mut folders = vec![(PathBuf::new(), 0)];
    while let Some((path, folder)) = folders.pop() {
        for (name, node) in &names[folder] {
            let path = path.join(name);
            match *node {
                Node::File(file) => drop(image.insert(path, Some(contents[file].clone()))),
                Node::Folder(folder) => {
                    image.insert(path.clone(), None);
                    folders.push((path, folder));
                }
            }
        }
    }
    image
}
