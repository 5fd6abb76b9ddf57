using System.Runtime.InteropServices;

namespace Irpwright.Verification.Tracking;

/// <summary>What kind of object the kernel will come back to.</summary>
public enum ActiveKind : byte
{
    /// <summary>A timer that is set.</summary>
    Timer,
    /// <summary>A DPC that is queued.</summary>
    Dpc,
    /// <summary>A work item that is queued.</summary>
    WorkItem,
    /// <summary>A lookaside list that is not deleted.</summary>
    Lookaside,
}

/// <summary>An object in memory of a driver's that the kernel will come back to.</summary>
/// <param name="Size">Bytes.</param>
/// <param name="Routine">What will be called; 0 for nothing.</param>
/// <param name="By">Who made it active.</param>
public readonly record struct ActiveObject(ActiveKind Kind, ulong Address, ulong Size, ulong Routine, CodePlace By);

/// <summary>The objects that memory must not be freed under, and drivers not unloaded under.</summary>
public sealed class ActiveObjects
{
    // By address: looked at for every block that is freed.
    readonly List<ActiveObject> objects = [];

    /// <summary>All of them.</summary>
    public ReadOnlySpan<ActiveObject> All => CollectionsMarshal.AsSpan(objects);

    /// <summary>Whether there is one of a kind at an address.</summary>
    public bool Contains(ActiveKind kind, ulong address) => IndexOf(kind, address) >= 0;

    /// <summary>The first one of a kind in memory that begins at an address.</summary>
    /// <param name="size">Asked for only if one lies behind the address.</param>
    public bool TryFind(ActiveKind kind, ulong start, Func<ulong, ulong> size, out ActiveObject found)
    {
        found = default;
        int i = LowerBound(start);
        while (i < objects.Count && objects[i].Kind != kind) i++;
        if (i == objects.Count || objects[i].Address - start >= size(start)) return false;
        found = objects[i];
        return true;
    }

    internal void Add(in ActiveObject active)
    {
        int known = IndexOf(active.Kind, active.Address);
        if (known >= 0) objects[known] = active;
        else objects.Insert(LowerBound(active.Address), active);
    }

    internal void Remove(ActiveKind kind, ulong address)
    {
        int index = IndexOf(kind, address);
        if (index >= 0) objects.RemoveAt(index);
    }

    int IndexOf(ActiveKind kind, ulong address)
    {
        for (int i = LowerBound(address); i < objects.Count && objects[i].Address == address; i++)
        {
            if (objects[i].Kind == kind) return i;
        }
        return -1;
    }

    int LowerBound(ulong address)
    {
        int low = 0, high = objects.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (objects[middle].Address < address) low = middle + 1;
            else high = middle;
        }
        return low;
    }
}
