//! Direct I/O where limits bind.

use corering::Builder;
use corering::buf::AlignedBuf;
use corering::fs::DirectFile;

use crate::become_nobody;

const BLOCKS: usize = 100;
const BLOCK: usize = 4096;

/// Reads blocks into memory that the kernel refuses to register.
pub(crate) fn read_without_locked_memory() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let bytes: Vec<u8> = (0..BLOCKS).flat_map(|number| [number as u8; BLOCK]).collect();
    std::fs::write(folder.path().join("file"), bytes).expect("room");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).expect("ours");
    // So that nobody has to find the way there.
    std::env::set_current_dir(folder.path()).expect("there");
    become_nobody(64 * 1024);
    let runtime = Builder::new().entries(64).buffers(0, 0).build().expect("a core");
    runtime.block_on(async {
        let file = DirectFile::open("file").await.expect("there");
        let mut buffer = AlignedBuf::new(BLOCK);
        assert!(buffer.is_pooled());
        for number in 0..BLOCKS {
            let read;
            (read, buffer) = file.read_at(buffer, (number * BLOCK) as u64).await;
            assert_eq!(read.expect("read"), BLOCK);
            assert!(buffer.iter().all(|byte| *byte == number as u8));
            buffer.clear();
        }
        file.close().await.expect("closed");
    });
    println!("{BLOCKS} blocks");
}
