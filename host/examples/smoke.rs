use helixmcp::call::{self, *};
use std::sync::Arc;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let wasm = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let tool = std::env::args().nth(2).unwrap();
    let args: serde_json::Value = serde_json::from_str(&std::env::args().nth(3).unwrap()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let d = helix_ids::Digest::of(&wasm);
    let name = std::env::args().nth(4).unwrap();
    std::fs::create_dir_all(home.path().join("toolpacks")).unwrap();
    std::fs::write(home.path().join("toolpacks").join(format!("{}.wasm", d.to_hex())), &wasm).unwrap();
    let policy = format!("version=1\nname=\"t\"\n[limits.host]\nfree_space_floor=\"1MiB\"\n[[component]]\ndigest=\"{d}\"\nname=\"{name}\"\nserve=true\ntools=\"all\"\n[[project]]\nname=\"default\"\ncomponents=\"all\"\n[[import_root]]\nname=\"data\"\npath=\"/tmp/data\"\nprojects=[\"default\"]\n");
    std::fs::write(home.path().join("policy.toml"), policy).unwrap();
    let host = Host::open(HostSettings{home: home.path().to_owned(), policy_file: home.path().join("policy.toml"), runner_exe: "/work/main/target/release/helixmcp".into(), cache_key: [7;32]}).await.unwrap();
    println!("refused {:?}", host.catalog.refused());
    for t in host.catalog.tools() { println!("{} {}", t.tool.name, t.input_schema); }
    let ctx = Context{caller: Caller::local(0,"smoke"), progress: None, gone: Default::default()};
    let imp = call::artifact_import(&host,&ctx, serde_json::from_value(serde_json::json!({"text":"@r1\nACGT\n+\nIIII\n","label":"r.fastq"})).unwrap()).await;
    println!("{}", serde_json::to_string_pretty(&imp.unwrap()).unwrap());
    for _ in 0..3 {
        let t=std::time::Instant::now();
        let a = call::call(&host,&ctx,&tool, args.as_object().unwrap().clone()).await;
        println!("{:?}", t.elapsed());
        match a { Ok(a)=>println!("{}", serde_json::to_string_pretty(&a).unwrap()), Err(e)=>println!("ERR {e:?}") }
    }
}
