using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>A pool block that exists, or existed last at its address.</summary>
/// <param name="FreedBy">Address in the code that freed it; 0 for the kernel itself.</param>
/// <param name="FreedOn">The thread that did; null while the block exists.</param>
public readonly record struct PoolBlockHistory(PoolBlock Block, ulong FreedBy, string? FreedOn)
{
    public bool IsFreed => FreedOn is not null;
}

/// <summary>Remembers who allocated and who freed each pool block, when a machine checks memory.</summary>
public sealed class PoolHistory
{
    readonly Lock gate = new();
    readonly Dictionary<ulong, PoolBlockHistory> blocks = [];

    internal void Allocated(in PoolBlock block)
    {
        lock (gate) blocks[block.Address] = new PoolBlockHistory(block, 0, null);
    }

    internal void Freed(ulong address, ulong by, string on)
    {
        lock (gate)
        {
            if (blocks.TryGetValue(address, out PoolBlockHistory known)) blocks[address] = known with { FreedBy = by, FreedOn = on };
        }
    }

    /// <summary>The block that an access means: one around it, one around the pointer it was made with, or the nearest.</summary>
    /// <param name="pointer">From which the address was made; 0 if not known.</param>
    public PoolBlockHistory? Find(ulong address, ulong pointer = 0)
    {
        const ulong near = GuestMemory.PageSize;
        PoolBlockHistory? best = null;
        ulong bestDistance = near;
        bool bestHasPointer = false;
        lock (gate)
        {
            foreach (PoolBlockHistory candidate in blocks.Values)
            {
                ulong start = candidate.Block.Address, end = start + Math.Max(candidate.Block.Size, 1);
                ulong distance = address < start ? start - address : address >= end ? address - end + 1 : 0;
                if (distance == 0) return candidate;
                bool hasPointer = pointer >= start && pointer < end;
                if (distance >= near || bestHasPointer && !hasPointer) continue;
                // Overruns are commoner than underruns: of two blocks as near, the one before.
                bool isBetter = distance < bestDistance || distance == bestDistance && address >= end;
                if (hasPointer == bestHasPointer && !isBetter) continue;
                (best, bestDistance, bestHasPointer) = (candidate, distance, hasPointer);
            }
        }
        return best;
    }
}
