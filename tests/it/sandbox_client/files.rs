//! Files that a runner reads for the host.

use super::*;

#[tokio::test]
async fn whole_files_are_checked_by_their_type() -> Result<()> {
    let bench = Bench::new()?;
    let record = b"@r\nACGT\n+\nIIII\n";
    let compressed = gzip(record)?;
    let cases: Vec<(ArtifactType, Vec<u8>, bool)> = vec![
        (ArtifactType::Fastq, record.to_vec(), true),
        (ArtifactType::Fastq, b"@r\r\nACGT\r\n+\r\nIIII".to_vec(), true),
        (ArtifactType::Fastq, Vec::new(), true),
        (ArtifactType::Fastq, b"@r\nACGT\n+\nIII\n".to_vec(), false),
        (ArtifactType::Fastq, b"@r\nACGT\n".to_vec(), false),
        (ArtifactType::Fastq, b"@r\nACGT\n+\n".to_vec(), false),
        (ArtifactType::Fastq, b">r\nACGT\n".to_vec(), false),
        (ArtifactType::FastqGz, compressed.clone(), true),
        (ArtifactType::FastqGz, compressed[..compressed.len() - 1].to_vec(), false),
        (ArtifactType::FastqGz, record.to_vec(), false),
        (ArtifactType::Fastq, compressed, false),
        (ArtifactType::Fasta, b">a\nACGT\n".to_vec(), true),
        (ArtifactType::Fasta, b"ACGT\n".to_vec(), false),
        (ArtifactType::Json, br#"{"a":[1,2]}"#.to_vec(), true),
        (ArtifactType::Json, br#"{"a":[1,2}"#.to_vec(), false),
        (ArtifactType::Text, "Grüße".as_bytes().to_vec(), true),
        (ArtifactType::Text, vec![b'a', 0xc3], false),
        (ArtifactType::Html, vec![0xff], false),
        (ArtifactType::Png, b"\x89PNG\r\n\x1a\n".to_vec(), false),
        (ArtifactType::Bam, gzip(b"BAM\x01\0\0\0\0\0\0\0\0")?, false),
        (ArtifactType::Unknown, vec![0, 1, 2], true),
    ];
    for (artifact_type, bytes, good) in cases {
        let verdict = bench.sandbox.check(file(&bytes)?, artifact_type).await?;
        assert_eq!(verdict == Verdict::Good, good, "{artifact_type} {bytes:?}: {verdict:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_head_is_decoded_and_bounded() -> Result<()> {
    let bench = Bench::new()?;
    let text = reads(400_000);
    let compressed = gzip(&text)?;
    assert!(bench.sandbox.head(file(&compressed)?, 1000).await? == text[..1000]);
    assert!(bench.sandbox.head(file(&text)?, 1000).await? == text[..1000]);
    assert!(bench.sandbox.head(file(b"abc")?, 1000).await? == b"abc");
    Ok(())
}
