using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How many MDLs map each page of a machine, by page frame number. Costs memory only near pages that were mapped.</summary>
sealed class PageCounts
{
    internal const ulong Frames = GuestMemory.SliceSize >> GuestMemory.PageShift;

    const int ChunkBits = 10;

    ushort[]?[]? chunks;

    internal ref ushort Of(ulong frame)
    {
        chunks ??= new ushort[]?[Frames >> ChunkBits];
        return ref (chunks[frame >> ChunkBits] ??= new ushort[1 << ChunkBits])[frame & ((1 << ChunkBits) - 1)];
    }
}
