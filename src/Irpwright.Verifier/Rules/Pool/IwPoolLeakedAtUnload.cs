namespace Irpwright.Verification.Rules;

/// <summary>What a driver has not freed when its unload routine returns, nobody ever will.</summary>
sealed class IwPoolLeakedAtUnload : Rule, IWatch<DriverUnloaded>
{
    public static RuleInfo Definition { get; } = new(nameof(IwPoolLeakedAtUnload), RuleFamily.Pool, Error,
        Pages.Detected, Codes.Detected(0x62),
        "A driver unloads while pool that it allocated is not freed; MDLs, work items and the like count as pool.",
        static () => new IwPoolLeakedAtUnload())
    {
        Covers = ["DV-C4-0x60", "DV-C4-0x62"],
        Instead = "Free in DriverUnload what DriverEntry allocated, and at the removal of a device what belongs to the device.",
        Wrong = "VOID Unload(PDRIVER_OBJECT DriverObject) { }",
        Right = "VOID Unload(PDRIVER_OBJECT DriverObject) { ExFreePoolWithTag(Table, 'gaT1'); }",
    };

    public void On(in DriverUnloaded e)
    {
        PDRIVER_OBJECT driver = e.DriverObject;
        var leaks = Machine.Pool.LiveBlocks
            .Where(block => block.Owner != 0 && CodePlace.Find(Machine, block.Owner)?.Object == driver)
            .GroupBy(block => (block.Owner, block.Tag));
        foreach (var leak in leaks)
        {
            PoolBlock first = leak.First();
            var place = new CodePlace(Machine, driver, 0, first.Owner);
            string blocks = leak.Count() == 1 ? $"{first.Size} bytes" : $"{leak.Count()} blocks, together {leak.Sum(block => (long)block.Size)} bytes,";
            Report(place, default,
                $"{e.Name} was unloaded, but {blocks} of {(((int)first.Type & 1) != 0 ? "paged" : "nonpaged")} pool with tag {Pool.TagText(first.Tag)} "
                    + $"that {place} allocated {(leak.Count() == 1 ? "was" : "were")} never freed; the first at {Format.Address(first.Address)}.", first.Tag);
        }
    }
}
