//! The formats that artifacts can have.

use std::fmt;
use std::str::FromStr;

macro_rules! types {
    ($( $variant:ident $name:literal $mime:literal $edam:expr, $extension:literal; )*) => {
        /// The format of an artifact's bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the variants are the formats' own names")]
        pub enum ArtifactType {
            $($variant,)*
        }

        impl ArtifactType {
            /// Every type, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name, as it stands in manifests, schemas and ids.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The media type.
            #[must_use]
            pub fn mime(self) -> &'static str {
                match self { $(Self::$variant => $mime,)* }
            }

            /// The format's id in the EDAM ontology (<http://edamontology.org>), where it has one.
            #[must_use]
            pub fn edam(self) -> Option<u16> {
                match self { $(Self::$variant => $edam,)* }
            }

            /// The usual end of a file name, with its dot; empty where there is none.
            #[must_use]
            pub fn extension(self) -> &'static str {
                match self { $(Self::$variant => $extension,)* }
            }
        }
    };
}

types! {
    Fastq "FASTQ" "text/x-fastq" Some(1930), ".fastq";
    FastqGz "FASTQ_GZ" "application/gzip" Some(1930), ".fastq.gz";
    Fasta "FASTA" "text/x-fasta" Some(1929), ".fasta";
    FastaGz "FASTA_GZ" "application/gzip" Some(1929), ".fasta.gz";
    Sam "SAM" "text/x-sam" Some(2573), ".sam";
    Bam "BAM" "application/x-bam" Some(2572), ".bam";
    Bai "BAI" "application/x-bai" Some(3327), ".bai";
    Cram "CRAM" "application/x-cram" Some(3462), ".cram";
    Crai "CRAI" "application/gzip" None, ".crai";
    Vcf "VCF" "text/x-vcf" Some(3016), ".vcf";
    VcfGz "VCF_GZ" "application/gzip" Some(3016), ".vcf.gz";
    Tbi "TBI" "application/gzip" None, ".tbi";
    Csi "CSI" "application/gzip" None, ".csi";
    Bcf "BCF" "application/x-bcf" Some(3020), ".bcf";
    Bed "BED" "text/x-bed" Some(3003), ".bed";
    Gff3 "GFF3" "text/x-gff3" Some(1975), ".gff3";
    Gtf "GTF" "text/x-gtf" Some(2306), ".gtf";
    Tsv "TSV" "text/tab-separated-values" Some(3475), ".tsv";
    Csv "CSV" "text/csv" None, ".csv";
    Json "JSON" "application/json" Some(3464), ".json";
    Text "TEXT" "text/plain" None, ".txt";
    Md "MD" "text/markdown" None, ".md";
    Html "HTML" "text/html" Some(2331), ".html";
    Svg "SVG" "image/svg+xml" Some(3604), ".svg";
    Png "PNG" "image/png" Some(3603), ".png";
    Pdf "PDF" "application/pdf" None, ".pdf";
    Zip "ZIP" "application/zip" Some(3987), ".zip";
    H5ad "H5AD" "application/x-hdf5" None, ".h5ad";
    Log "LOG" "text/plain" None, ".log";
    Unknown "UNKNOWN" "application/octet-stream" None, "";
}

impl fmt::Display for ArtifactType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A type that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown artifact type; the types are {}", ArtifactType::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(" "))]
pub struct UnknownType;

impl FromStr for ArtifactType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or(UnknownType)
    }
}

crate::name::serde_as_text!(ArtifactType);
