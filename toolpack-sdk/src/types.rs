//! The artifact types that a host knows. A role with a type that is not here does not compile.

macro_rules! types {
    ($($name:ident)*) => {
        $(#[doc = concat!("The artifact type `", stringify!($name), "`.")]
        pub const $name: &str = stringify!($name);)*

        /// Every type.
        pub const ALL: &[&str] = &[$($name,)*];
    };
}

types! {
    FASTQ FASTQ_GZ FASTA FASTA_GZ SAM BAM BAI CRAM CRAI VCF VCF_GZ TBI CSI BCF BED GFF3 GTF TSV CSV
    JSON TEXT MD HTML SVG PNG PDF ZIP H5AD LOG UNKNOWN
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_types_are_those_of_the_host() {
        let host: Vec<&str> = helix_ids::ArtifactType::ALL.iter().map(|known| known.as_str()).collect();
        assert_eq!(super::ALL, host);
    }
}
