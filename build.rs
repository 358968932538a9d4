//! Builds anew what holds the web console when `scripts/console` has built that anew.

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
}
