//! A machine that comes into a network with addresses of the overlay keeps that network: nebula gives way, and comes
//! back when the machine has left it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nebula_gives_way_while_the_machine_is_in_a_network_with_addresses_of_the_overlay() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    client.execute("SELECT nebula.populate_pool($1, 'fd99::/64', 'six')", &[&stack.project]).await?;
    let mut world = World::on(stack, &[("lighthouse", "lighthouse", 1), ("phone", "host", 1)]).await?;
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("phone", "lighthouse").await?;
    let phone = world.look("phone");
    for (address, network, router) in
        [("10.99.9.200/16", "10.99.0.0/16", "10.99.9.1"), ("fd99::200/64", "fd99::/64", "fd99::9")]
    {
        let way = || -> Result<String> {
            let route = run(phone.inside("ip").args(["route", "get", router]))?;
            let mut words = route.split_whitespace().skip_while(|word| *word != "dev");
            Ok(words.nth(1).unwrap_or_default().to_owned())
        };
        let change =
            |verb: &str| run(phone.inside("ip").args(["addr", verb, address, "dev", "eth0"])).map(drop);
        assert_eq!(way()?, "nebula1", "{router}");
        change("add")?;
        eventually("nebula to give way", || async { Ok(phone.nebulas()?.is_empty().then_some(())) })
            .await
            .with_context(|| phone.logs())?;
        let told = format!("has addresses of {network}, the network of this machine at eth0");
        eventually("the agent to say why", || async { Ok(phone.logs().contains(&told).then_some(())) })
            .await
            .with_context(|| phone.logs())?;
        assert_eq!(way()?, "eth0", "{router}");
        change("del")?;
        world.reaches("phone", "lighthouse").await?;
    }
    Ok(())
}
