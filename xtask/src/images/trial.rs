//! Every image at work behind the walls of a step, on reads whose numbers are known.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use helix_tests::cache;

use super::oci;
use crate::{fetch, machine, say};

/// One container: a program, what it reads, and what it must find.
struct Case {
    image: &'static str,
    argv: &'static [&'static str],
    /// Files of the pool that lie in `/work/in`: the reads, or what an earlier case made.
    inputs: &'static [&'static str],
    /// The file in `/work/out` to look into; none for stdout.
    output: Option<&'static str>,
    /// What must stand there.
    finds: &'static [&'static str],
}

/// A scratch as a step has it; Docker 20.10 takes its mode from the image.
const SCRATCH: &str = "/tmp:rw,noexec,nosuid,nodev,size=268435456";

/// The walls of a step, as `docker run` spells them.
const WALLS: &[&str] = &[
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user",
    super::USER,
    "--pids-limit=512",
    "--memory=2g",
    "--memory-swap=2g",
    "--ipc=private",
    "--init",
    "--tmpfs",
    SCRATCH,
    "--env=HOME=/tmp",
    "--env=LC_ALL=C.UTF-8",
    "--env=TZ=UTC",
    "--env=SOURCE_DATE_EPOCH=0",
];

/// In order: some read what others made. The numbers are those of the same programs without a
/// container.
const CASES: &[Case] = &[
    Case {
        image: "tools",
        argv: &[
            "/usr/bin/sh",
            "-c",
            "id; touch /x || echo root is read-only; touch /work/in/x || echo in is read-only; \
             cp /usr/bin/busybox /tmp/b && chmod +x /tmp/b && ! /tmp/b true && echo scratch runs nothing; \
             nc -w 2 192.0.2.1 80 || echo no network; ls /sys/class/net; \
             touch /work/out/x && echo out is written",
        ],
        inputs: &[],
        output: None,
        finds: &[
            "uid=65534",
            "root is read-only",
            "in is read-only",
            "scratch runs nothing",
            "no network",
            "out is written",
        ],
    },
    Case {
        image: "seqkit",
        argv: &[
            "/usr/bin/seqkit",
            "stats",
            "-a",
            "-T",
            "-o",
            "/work/out/stats.tsv",
            "/work/in/reads_1.fq.gz",
        ],
        inputs: &["reads_1.fq.gz"],
        output: Some("stats.tsv"),
        finds: &["\t10000\t1088399\t40\t108.8\t354\t", "\t39.32\t19.68\t48.69"],
    },
    Case {
        image: "bwa",
        argv: &["/usr/bin/bwa", "index", "-p", "/work/out/genome", "/work/in/lambda_virus.fa"],
        inputs: &["lambda_virus.fa"],
        output: Some("genome.ann"),
        finds: &["gi|9626243"],
    },
    Case {
        image: "bwa",
        argv: &[
            "/usr/bin/bwa",
            "mem",
            "-t",
            "2",
            "-R",
            "@RG\\tID:lambda\\tSM:lambda",
            "-o",
            "/work/out/aligned.sam",
            "/work/in/genome",
            "/work/in/reads_1.fq.gz",
            "/work/in/reads_2.fq.gz",
        ],
        inputs: &[
            "genome.amb",
            "genome.ann",
            "genome.bwt",
            "genome.pac",
            "genome.sa",
            "reads_1.fq.gz",
            "reads_2.fq.gz",
        ],
        output: Some("aligned.sam"),
        finds: &["@RG\tID:lambda\tSM:lambda"],
    },
    Case {
        image: "samtools",
        argv: &[
            "/usr/bin/samtools",
            "sort",
            "--no-PG",
            "-@",
            "1",
            "-T",
            "/tmp/sort",
            "-o",
            "/work/out/aligned.bam",
            "/work/in/aligned.sam",
        ],
        inputs: &["aligned.sam"],
        output: None,
        finds: &[],
    },
    Case {
        image: "samtools",
        argv: &["/usr/bin/samtools", "index", "-o", "/work/out/aligned.bam.bai", "/work/in/aligned.bam"],
        inputs: &["aligned.bam"],
        output: None,
        finds: &[],
    },
    Case {
        image: "samtools",
        argv: &["/usr/bin/samtools", "flagstat", "/work/in/aligned.bam"],
        inputs: &["aligned.bam"],
        output: None,
        finds: &[
            "20052 + 0 in total",
            "52 + 0 supplementary",
            "19572 + 0 mapped (97.61%",
            "18926 + 0 properly paired (94.63%",
            "474 + 0 singletons",
        ],
    },
    Case {
        image: "samtools",
        argv: &[
            "/usr/bin/samtools",
            "faidx",
            "--fai-idx",
            "/work/out/lambda_virus.fa.fai",
            "/work/in/lambda_virus.fa",
        ],
        inputs: &["lambda_virus.fa"],
        output: Some("lambda_virus.fa.fai"),
        finds: &["\t48502\t"],
    },
    Case {
        image: "bcftools",
        argv: &[
            "/usr/bin/bcftools",
            "mpileup",
            "--no-version",
            "-O",
            "u",
            "-f",
            "/work/in/lambda_virus.fa",
            "-o",
            "/work/out/pileup.bcf",
            "/work/in/aligned.bam",
        ],
        inputs: &["lambda_virus.fa", "lambda_virus.fa.fai", "aligned.bam", "aligned.bam.bai"],
        output: None,
        finds: &[],
    },
    Case {
        image: "bcftools",
        argv: &[
            "/usr/bin/bcftools",
            "call",
            "--no-version",
            "-m",
            "-v",
            "-O",
            "z",
            "-o",
            "/work/out/calls.vcf.gz",
            "/work/in/pileup.bcf",
        ],
        inputs: &["pileup.bcf"],
        output: None,
        finds: &[],
    },
    Case {
        image: "bcftools",
        argv: &[
            "/usr/bin/bcftools",
            "index",
            "--tbi",
            "-o",
            "/work/out/calls.vcf.gz.tbi",
            "/work/in/calls.vcf.gz",
        ],
        inputs: &["calls.vcf.gz"],
        output: None,
        finds: &[],
    },
    Case {
        image: "bcftools",
        argv: &["/usr/bin/bcftools", "stats", "/work/in/calls.vcf.gz"],
        inputs: &["calls.vcf.gz"],
        output: None,
        finds: &["number of records:\t86", "number of SNPs:\t34", "number of indels:\t52"],
    },
    Case {
        image: "fastqc",
        argv: &[
            "/usr/bin/java",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-Djava.io.tmpdir=/tmp",
            "-Dfastqc.output_dir=/work/out",
            "-Dfastqc.unzip=true",
            "-Dfastqc.threads=1",
            "-cp",
            "/usr/share/java/fastqc.jar:/usr/share/java/htsjdk.jar:/usr/share/java/jbzip2.jar:\
             /usr/share/java/commons-math3.jar:/usr/share/java/sis-jhdf5.jar:/usr/share/java/sis-base.jar",
            "uk.ac.babraham.FastQC.FastQCApplication",
            "/work/in/reads_1.fq.gz",
        ],
        inputs: &["reads_1.fq.gz"],
        output: Some("reads_1_fastqc/summary.txt"),
        finds: &[
            "PASS\tBasic Statistics",
            "FAIL\tPer base sequence quality",
            "FAIL\tPer sequence quality scores",
            "FAIL\tPer base sequence content",
            "FAIL\tPer sequence GC content",
            "WARN\tPer base N content",
        ],
    },
    Case {
        image: "multiqc",
        argv: &[
            "/usr/bin/python3.11",
            "-m",
            "multiqc",
            "--no-version-check",
            "--outdir",
            "/work/out",
            "/work/in",
        ],
        inputs: &["reads_1_fastqc.zip"],
        output: Some("multiqc_data/multiqc_general_stats.txt"),
        finds: &["fastqc-total_sequences", "reads_1\t0.42"],
    },
];

/// Runs the cases.
///
/// # Errors
/// One does not end well, or does not find what it must.
pub fn run(endpoint: &str, images: &Path) -> Result<()> {
    say::heading("images at work");
    let docker = machine::program("docker").unwrap_or_else(|| PathBuf::from("/usr/bin/docker"));
    machine::apt_install("trying images", &["docker.io"], &docker)?;
    let folder = images.join("trial");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let pool = pool(&folder)?;
    for case in CASES {
        let digest = oci::manifest(&images.join(case.image))?;
        let mut command = Command::new(&docker);
        command.args(["--host", endpoint, "run", "--rm"]).args(WALLS);
        case.run(&mut command, &super::reference(case.image, digest), &folder, &pool)?;
    }
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// The reads, and what cases make of them.
fn pool(folder: &Path) -> Result<PathBuf> {
    fetch::demo_reads()?;
    let pool = folder.join("pool");
    fs::create_dir_all(&pool)?;
    let reads = cache::lambda_reads()?;
    for name in ["reads_1.fq.gz", "reads_2.fq.gz"] {
        fs::copy(reads.join(name), pool.join(name)).with_context(|| format!("no {name}"))?;
    }
    let packed = fs::read(reads.with_file_name("reference").join("lambda_virus.fa.gz"))?;
    let mut genome = flate2::read::MultiGzDecoder::new(packed.as_slice());
    std::io::copy(&mut genome, &mut fs::File::create(pool.join("lambda_virus.fa"))?)?;
    Ok(pool)
}

impl Case {
    fn run(&self, command: &mut Command, reference: &str, folder: &Path, pool: &Path) -> Result<()> {
        let (inputs, outputs) = (folder.join("in"), folder.join("out"));
        for fresh in [&inputs, &outputs] {
            if fresh.exists() {
                fs::remove_dir_all(fresh)?;
            }
            fs::create_dir_all(fresh)?;
        }
        for name in self.inputs {
            fs::hard_link(pool.join(name), inputs.join(name)).with_context(|| format!("no {name}"))?;
        }
        fs::set_permissions(&outputs, fs::Permissions::from_mode(0o777))?;
        command.arg("--volume").arg(format!("{}:/work/in:ro", inputs.display()));
        command.arg("--volume").arg(format!("{}:/work/out", outputs.display()));
        command.arg(reference).args(self.argv);
        let words: Vec<&str> = self.argv.iter().take(3).copied().collect();
        say::step(&format!("{}: {} …", self.image, words.join(" ")), || {
            let output = command.stdin(Stdio::null()).output().context("cannot run docker")?;
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{}\n{told}\n{}", output.status, say::tail(&log));
            let text = match self.output {
                Some(name) => {
                    fs::read_to_string(outputs.join(name)).with_context(|| format!("no {name}:\n{log}"))?
                }
                None => told,
            };
            for expected in self.finds {
                if !text.contains(expected) {
                    bail!("`{expected}` is not in:\n{}\n{}", say::tail(&text), say::tail(&log));
                }
            }
            Ok(())
        })?;
        for entry in fs::read_dir(&outputs)? {
            let entry = entry?;
            let kept = pool.join(entry.file_name());
            if entry.file_type()?.is_file() && !kept.exists() {
                fs::rename(entry.path(), kept)?;
            }
        }
        Ok(())
    }
}
