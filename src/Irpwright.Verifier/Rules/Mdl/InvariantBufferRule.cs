using System.Numerics;
using System.Runtime.InteropServices;

namespace Irpwright.Verification.Rules;

/// <summary>The contents of a request's MDL, compared from driver to driver.</summary>
abstract class InvariantBufferRule : Rule, IWatch<IrpForwarded>, IWatch<IrpCompleting>, IWatch<IrpFreed>
{
    // A larger buffer is compared as far as this: it is done for every request and every driver.
    const int ComparedBytes = 64 * 1024;

    readonly byte major;
    readonly Dictionary<ulong, (int Use, ulong Mdl, ulong Contents)> buffers = [];

    protected InvariantBufferRule(byte major) => this.major = major;

    /// <summary>What was done to the buffer while a driver had the request.</summary>
    /// <param name="place">That driver's routine.</param>
    protected abstract void Changed(CodePlace place, IrpRecord irp);

    /// <summary>Whether the buffer is still the requestor's when the request is completed.</summary>
    protected abstract bool IsInvariantUntilCompletion { get; }

    Situation IWatch<IrpForwarded>.When => Situation.Described;

    public void On(in IrpForwarded e)
    {
        if (Tracker.Irp.Name.MajorFunction != major || e.Irp.MdlAddress.IsNull) return;
        Compare(e.Irp);
        if (ContentsOf(e.Irp.MdlAddress) is { } contents)
            buffers[e.Irp.Address] = (Tracker.Irp.Name.Use, e.Irp.MdlAddress.Address, contents);
    }

    public void On(in IrpCompleting e)
    {
        if (buffers.Count == 0) return;
        if (IsInvariantUntilCompletion) Compare(e.Irp);
        buffers.Remove(e.Irp.Address);
    }

    public void On(in IrpFreed e)
    {
        if (buffers.Count > 0) buffers.Remove(e.Irp.Address);
    }

    void Compare(PIRP irp)
    {
        if (Tracker.Owner is null || !buffers.TryGetValue(irp.Address, out var known)) return;
        if (known.Use != Tracker.Irp.Name.Use || known.Mdl != irp.MdlAddress.Address) return;
        if (ContentsOf(irp.MdlAddress) is { } contents && contents != known.Contents) Changed(Tracker.Owner.Place, Tracker.Irp);
    }

    /// <summary>Stands for the bytes that a chain of MDLs describes; null if they cannot be looked at.</summary>
    static ulong? ContentsOf(PMDL mdl)
    {
        ulong mixed = 0;
        int left = ComparedBytes;
        for (; !mdl.IsNull && left > 0; mdl = mdl.Next)
        {
            ulong buffer = mdl.StartVa.Address + mdl.ByteOffset;
            int length = (int)Math.Min(mdl.ByteCount, (uint)left);
            if (length == 0) continue;
            if (!GuestMemory.IsAccessible(buffer, (ulong)length, PageAccess.Read)) return null;
            mixed = Mix(mixed, GuestMemory.Read(buffer, length));
            left -= length;
        }
        return mixed;
    }

    static ulong Mix(ulong seed, ReadOnlySpan<byte> bytes)
    {
        // Every step can be undone, so a change in one place always shows.
        const ulong factor = 0x9E3779B97F4A7C15;
        ReadOnlySpan<Vector<ulong>> vectors = MemoryMarshal.Cast<byte, Vector<ulong>>(bytes);
        var sums = new Vector<ulong>(seed);
        foreach (Vector<ulong> vector in vectors) sums = (sums ^ vector) * factor;
        ulong mixed = seed;
        for (int i = 0; i < Vector<ulong>.Count; i++) mixed = (BitOperations.RotateLeft(mixed, 23) ^ sums[i]) * factor;
        foreach (byte rest in bytes[(vectors.Length * Vector<byte>.Count)..]) mixed = (BitOperations.RotateLeft(mixed, 5) ^ rest) * factor;
        return mixed;
    }
}
