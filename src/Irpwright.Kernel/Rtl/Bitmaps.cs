using System.Numerics;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Bitmaps in the drivers' memory. Any IRQL, as far as the memory allows.</summary>
/// <remarks>The buffer is read and written by 32-bit words, as on Windows: bit n is bit n % 32 of word n / 32.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-rtlinitializebitmap"/>
public sealed class Bitmaps
{
    const uint NotFound = 0xFFFFFFFF;

    internal Bitmaps()
    {
    }

    /// <summary>Prepares the header of a bitmap; the bits stay as they are.</summary>
    /// <param name="SizeOfBitMap">Bits.</param>
    [KernelExport]
    public void RtlInitializeBitMap(PRTL_BITMAP BitMapHeader, PULONG BitMapBuffer, uint SizeOfBitMap) =>
        BitMapHeader.Value = new RTL_BITMAP { SizeOfBitMap = SizeOfBitMap, Buffer = BitMapBuffer };

    [KernelExport]
    public void RtlClearAllBits(PRTL_BITMAP BitMapHeader) => Fill(BitMapHeader, 0, BitMapHeader.SizeOfBitMap, false);

    [KernelExport]
    public void RtlSetAllBits(PRTL_BITMAP BitMapHeader) => Fill(BitMapHeader, 0, BitMapHeader.SizeOfBitMap, true);

    [KernelExport]
    public void RtlClearBit(PRTL_BITMAP BitMapHeader, uint BitNumber) => Fill(BitMapHeader, BitNumber, 1, false);

    [KernelExport]
    public void RtlSetBit(PRTL_BITMAP BitMapHeader, uint BitNumber) => Fill(BitMapHeader, BitNumber, 1, true);

    [KernelExport]
    public BOOLEAN RtlTestBit(PRTL_BITMAP BitMapHeader, uint BitNumber) => BitAt(BitMapHeader, BitNumber);

    [KernelExport]
    public void RtlClearBits(PRTL_BITMAP BitMapHeader, uint StartingIndex, uint NumberToClear) => Fill(BitMapHeader, StartingIndex, NumberToClear, false);

    [KernelExport]
    public void RtlSetBits(PRTL_BITMAP BitMapHeader, uint StartingIndex, uint NumberToSet) => Fill(BitMapHeader, StartingIndex, NumberToSet, true);

    /// <summary>Whether a range is clear; FALSE also for one that is empty or reaches beyond the bitmap.</summary>
    [KernelExport]
    public BOOLEAN RtlAreBitsClear(PRTL_BITMAP BitMapHeader, uint StartingIndex, uint Length) => AreAll(BitMapHeader, StartingIndex, Length, false);

    /// <summary>Whether a range is set; FALSE also for one that is empty or reaches beyond the bitmap.</summary>
    [KernelExport]
    public BOOLEAN RtlAreBitsSet(PRTL_BITMAP BitMapHeader, uint StartingIndex, uint Length) => AreAll(BitMapHeader, StartingIndex, Length, true);

    [KernelExport]
    public uint RtlNumberOfSetBits(PRTL_BITMAP BitMapHeader)
    {
        uint count = 0;
        uint words = BitMapHeader.SizeOfBitMap / 32;
        for (uint i = 0; i < words; i++) count += (uint)BitOperations.PopCount(WordAt(BitMapHeader, 32 * i));
        for (uint bit = 32 * words; bit < BitMapHeader.SizeOfBitMap; bit++) count += BitAt(BitMapHeader, bit) ? 1u : 0;
        return count;
    }

    [KernelExport]
    public uint RtlNumberOfClearBits(PRTL_BITMAP BitMapHeader) => BitMapHeader.SizeOfBitMap - RtlNumberOfSetBits(BitMapHeader);

    /// <summary>Finds a range of clear bits, from a hint to the end, then from the start.</summary>
    /// <returns>Index of its first bit, or 0xFFFFFFFF.</returns>
    [KernelExport]
    public uint RtlFindClearBits(PRTL_BITMAP BitMapHeader, uint NumberToFind, uint HintIndex) => Find(BitMapHeader, NumberToFind, HintIndex, false);

    /// <summary>Finds a range of set bits, from a hint to the end, then from the start.</summary>
    /// <returns>Index of its first bit, or 0xFFFFFFFF.</returns>
    [KernelExport]
    public uint RtlFindSetBits(PRTL_BITMAP BitMapHeader, uint NumberToFind, uint HintIndex) => Find(BitMapHeader, NumberToFind, HintIndex, true);

    /// <summary>As <see cref="RtlFindClearBits"/>, and sets what it finds.</summary>
    [KernelExport]
    public uint RtlFindClearBitsAndSet(PRTL_BITMAP BitMapHeader, uint NumberToFind, uint HintIndex) => FindAndFill(BitMapHeader, NumberToFind, HintIndex, false);

    /// <summary>As <see cref="RtlFindSetBits"/>, and clears what it finds.</summary>
    [KernelExport]
    public uint RtlFindSetBitsAndClear(PRTL_BITMAP BitMapHeader, uint NumberToFind, uint HintIndex) => FindAndFill(BitMapHeader, NumberToFind, HintIndex, true);

    /// <summary>Finds the first run of clear bits at or behind an index.</summary>
    /// <returns>Its length, bits; 0 if there is none.</returns>
    [KernelExport]
    public uint RtlFindNextForwardRunClear(PRTL_BITMAP BitMapHeader, uint FromIndex, out uint StartingRunIndex)
    {
        uint size = BitMapHeader.SizeOfBitMap, start = FromIndex;
        while (start < size && BitAt(BitMapHeader, start)) start++;
        uint end = start;
        while (end < size && !BitAt(BitMapHeader, end)) end++;
        StartingRunIndex = start;
        return end > start ? end - start : 0;
    }

    /// <summary>Finds the first run of clear bits; as <see cref="RtlFindNextForwardRunClear"/> from 0.</summary>
    [KernelExport]
    public uint RtlFindFirstRunClear(PRTL_BITMAP BitMapHeader, out uint StartingIndex) => RtlFindNextForwardRunClear(BitMapHeader, 0, out StartingIndex);

    /// <summary>Finds the longest run of clear bits, the first of equals.</summary>
    /// <returns>Its length, bits; 0 if no bit is clear.</returns>
    [KernelExport]
    public uint RtlFindLongestRunClear(PRTL_BITMAP BitMapHeader, out uint StartingIndex)
    {
        uint longest = 0;
        StartingIndex = 0;
        for (uint from = 0; RtlFindNextForwardRunClear(BitMapHeader, from, out uint start) is var length and > 0; from = start + length)
        {
            if (length <= longest) continue;
            longest = length;
            StartingIndex = start;
        }
        return longest;
    }

    static ref uint WordAt(PRTL_BITMAP map, uint bit) => ref GuestMemory.Ref<uint>(map.Buffer.Address + bit / 32 * sizeof(uint));

    static bool BitAt(PRTL_BITMAP map, uint bit) => (WordAt(map, bit) >> (int)(bit % 32) & 1) != 0;

    static void Fill(PRTL_BITMAP map, uint start, uint count, bool value)
    {
        for (uint bit = start; count > 0;)
        {
            uint inWord = Math.Min(count, 32 - bit % 32);
            uint mask = (inWord == 32 ? 0xFFFFFFFF : (1u << (int)inWord) - 1) << (int)(bit % 32);
            if (value) WordAt(map, bit) |= mask;
            else WordAt(map, bit) &= ~mask;
            bit += inWord;
            count -= inWord;
        }
    }

    static bool AreAll(PRTL_BITMAP map, uint start, uint length, bool value)
    {
        if (length == 0 || (ulong)start + length > map.SizeOfBitMap) return false;
        for (uint i = 0; i < length; i++)
        {
            if (BitAt(map, start + i) != value) return false;
        }
        return true;
    }

    static uint Find(PRTL_BITMAP map, uint count, uint hint, bool value)
    {
        uint size = map.SizeOfBitMap;
        if (hint >= size) hint = 0;
        // What is asked for when nothing is asked for: a place at a byte's start, as Windows answers.
        if (count == 0) return hint & ~7u;
        uint found = FindBetween(map, count, hint, size, value);
        return found != NotFound || hint == 0 ? found : FindBetween(map, count, 0, (uint)Math.Min(size, (ulong)hint + count - 1), value);
    }

    static uint FindBetween(PRTL_BITMAP map, uint count, uint from, uint end, bool value)
    {
        uint run = 0;
        for (uint bit = from; bit < end; bit++)
        {
            run = BitAt(map, bit) == value ? run + 1 : 0;
            if (run == count) return bit + 1 - count;
        }
        return NotFound;
    }

    static uint FindAndFill(PRTL_BITMAP map, uint count, uint hint, bool value)
    {
        uint found = Find(map, count, hint, value);
        if (found != NotFound) Fill(map, found, count, !value);
        return found;
    }
}
