using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>An open handle.</summary>
/// <param name="Access">Rights that were granted when it was opened.</param>
/// <param name="Attributes">OBJ_INHERIT, OBJ_EXCLUSIVE and whether it may be closed.</param>
sealed record HandleEntry(KernelObject Object, uint Access, OBJ_FLAGS Attributes);

/// <summary>The handles of one process. Handle values are multiples of 4; the table does not know the sign bit of kernel handles.</summary>
sealed class HandleTable
{
    const int Step = 4;
    // A value is given again only after this many others: a handle used after it was closed is then seen to be invalid.
    const int Quarantine = 64;

    readonly Lock gate = new();
    readonly List<HandleEntry?> entries = [null]; // 0 is no handle
    readonly Queue<int> free = new();

    internal int Count
    {
        get { lock (gate) return entries.Count - 1 - free.Count; }
    }

    internal ulong Add(HandleEntry entry)
    {
        lock (gate)
        {
            if (free.Count <= Quarantine)
            {
                entries.Add(entry);
                return (ulong)(entries.Count - 1) * Step;
            }
            int index = free.Dequeue();
            entries[index] = entry;
            return (ulong)index * Step;
        }
    }

    /// <param name="value">The two low bits mean nothing, as on Windows.</param>
    internal HandleEntry? Find(ulong value)
    {
        lock (gate) return value / Step < (ulong)entries.Count ? entries[(int)(value / Step)] : null;
    }

    /// <summary>Takes an entry out; false if it is not the one there any more.</summary>
    internal bool Remove(ulong value, HandleEntry entry)
    {
        lock (gate)
        {
            int index = (int)(value / Step);
            if (entries[index] != entry) return false;
            entries[index] = null;
            free.Enqueue(index);
            return true;
        }
    }
}
