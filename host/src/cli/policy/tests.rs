use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::*;

struct World {
    folder: tempfile::TempDir,
    settings: Settings,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let policy_file = home.join("policy.toml");
        let settings = Settings { home, policy_file, names_policy: false, json: true, log: None, path: None };
        Self { folder, settings }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    async fn run(&self, command: PolicyCommand) -> anyhow::Result<(ExitCode, Value)> {
        let mut out = Vec::new();
        let code = run(command, &self.settings, &mut out).await?;
        Ok((code, serde_json::from_slice(&out).unwrap()))
    }
}

fn init_args(root: Option<PathBuf>) -> PolicyCommand {
    PolicyCommand::Init(InitArgs {
        project: "default".parse().unwrap(),
        import_root: root,
        export_root: None,
    })
}

#[tokio::test]
async fn a_new_policy_is_good_and_is_never_overwritten() {
    let world = World::new();
    let above = world.folder.path().to_owned();
    let error = world.run(init_args(Some(above))).await.unwrap_err();
    assert!(error.to_string().contains("root_private"), "{error}");
    assert!(!world.settings.policy_file.exists());

    let root = world.folder.path().join("data");
    std::fs::create_dir(&root).unwrap();
    let (code, _) = world.run(init_args(Some(root))).await.unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    let (code, told) = world.run(PolicyCommand::Check { file: None }).await.unwrap();
    assert_eq!((code, &told["good"], &told["odd"]), (ExitCode::SUCCESS, &json!(true), &json!([])));
    let before = std::fs::read(&world.settings.policy_file).unwrap();
    let error = world.run(init_args(None)).await.unwrap_err();
    assert!(error.to_string().contains("is there already"), "{error}");
    assert_eq!(std::fs::read(&world.settings.policy_file).unwrap(), before);
}

#[tokio::test]
async fn a_bad_policy_is_told_with_its_place() {
    let world = World::new();
    let file = world.file("bad.toml", "version = 1\nname = \"x\"\n[limits.guest]\nfuel = 0\n");
    let (code, told) = world.run(PolicyCommand::Check { file: Some(file.clone()) }).await.unwrap();
    assert_eq!(code, ExitCode::from(EXIT_BAD));
    assert_eq!((&told["problems"][0]["line"], &told["problems"][0]["column"]), (&json!(4), &json!(8)));

    let open = world.file("open.toml", "version = 1\nname = \"x\"\n");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o666)).unwrap();
    let (code, told) = world.run(PolicyCommand::Check { file: Some(open.clone()) }).await.unwrap();
    assert_eq!(code, ExitCode::from(EXIT_BAD));
    assert!(told["problems"][0]["message"].as_str().unwrap().contains("written by others"));

    let link = world.folder.path().join("link.toml");
    std::os::unix::fs::symlink(&open, &link).unwrap();
    let (_, told) = world.run(PolicyCommand::Check { file: Some(link) }).await.unwrap();
    assert!(told["problems"][0]["message"].as_str().unwrap().contains("symlink"));
    assert!(world.run(PolicyCommand::Check { file: None }).await.is_err());
}

#[tokio::test]
async fn a_diff_exits_1_when_anything_got_wider() {
    let world = World::new();
    let narrow = world.file("a.toml", "version = 1\nname = \"x\"\n[limits.caller]\nqueued = 1\n");
    let wide = world.file("b.toml", "version = 1\nname = \"x\"\n[limits.caller]\nqueued = 2\n");
    let compare = |old: &Path, new: &Path| PolicyCommand::Diff { old: old.to_owned(), new: new.to_owned() };
    let (code, told) = world.run(compare(&narrow, &wide)).await.unwrap();
    assert_eq!((code, &told["wider"]), (ExitCode::from(EXIT_BAD), &json!(true)));
    let (code, told) = world.run(compare(&wide, &narrow)).await.unwrap();
    assert_eq!((code, told["changes"].as_array().unwrap().len()), (ExitCode::SUCCESS, 1));
    let (code, told) = world.run(compare(&wide, &wide)).await.unwrap();
    assert_eq!((code, &told["changes"]), (ExitCode::SUCCESS, &json!([])));
}
