namespace Irpwright.Verification.Rules;

/// <summary>Memory is freed under an object that the kernel will come back to.</summary>
abstract class FreedMemoryRule : Rule, IWatch<PoolFreed>
{
    readonly ActiveKind kind;
    readonly Func<ulong, ulong> sizeOf;

    protected FreedMemoryRule(ActiveKind kind)
    {
        this.kind = kind;
        sizeOf = address => Machine.Pool.TryFind(address, out PoolBlock block) ? block.Size : 0;
    }

    /// <summary>Such as <c>a timer that is set</c>.</summary>
    protected abstract string What { get; }

    /// <summary>What the kernel will do to whatever lies there then.</summary>
    protected abstract string Consequence { get; }

    /// <summary>Whether the object itself agrees.</summary>
    protected virtual bool IsActive(in ActiveObject found) => true;

    public virtual void On(in PoolFreed e)
    {
        if (!Tracker.Active.TryFind(kind, e.Address, sizeOf, out ActiveObject found) || !IsActive(found)) return;
        // The kernel frees what it keeps for drivers when they are through with it: then who left the object active is to blame.
        CodePlace place = Tracker.Caller.DriverName is null ? found.By : Tracker.Caller;
        Report(place, Tracker.Thread.Frame?.Irp ?? default,
            $"{place} freed the memory at {Format.Address(e.Address)}, tag {Pool.TagText(e.Tag)}, with {What} in it, at offset "
                + $"0x{found.Address - e.Address:x}. {Consequence}");
    }
}
