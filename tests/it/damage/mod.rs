//! Damaged data: the right answer or a typed failure, never a number that is quietly wrong.
//!
//! Common tools end well on files that were cut: the oracles here are asked only where they judge
//! rightly, `gzip -t` of compression, seqkit of what is whole, samtools of records.

mod alignments;
mod bam;
mod fastq;
mod make;
mod memory;
mod reads;
