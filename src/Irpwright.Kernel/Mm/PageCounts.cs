using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>How many MDLs map each page of a machine, by page frame number. Costs memory only near pages that were mapped.</summary>
sealed class PageCounts
{
    internal const ulong Frames = GuestMemory.SliceSize >> GuestMemory.PageShift;

    const int ChunkBits = 10;

    readonly ushort[]?[] chunks = new ushort[]?[Frames >> ChunkBits];

    internal ref ushort Of(ulong frame) => ref (chunks[frame >> ChunkBits] ??= new ushort[1 << ChunkBits])[frame & ((1 << ChunkBits) - 1)];
}
