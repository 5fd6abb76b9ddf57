using CsCheck;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class BitmapTests : DriverTest
{
    PRTL_BITMAP New(uint bits)
    {
        var map = new PRTL_BITMAP(Memory(RTL_BITMAP.SizeOf).Address);
        RtlInitializeBitMap(map, new PULONG(Memory((int)(bits / 32 + 1) * 4).Address), bits);
        return map;
    }

    /// <summary>Against a plain array of booleans.</summary>
    [Fact]
    public void Bits_are_set_cleared_counted_and_found() => Run(() =>
    {
        Gen.Select(Gen.Int[1, 150], Gen.Select(Gen.Bool, Gen.Int[0, 149], Gen.Int[1, 70]).Array[0, 12], Gen.Int[1, 40], Gen.Int[0, 149]).Sample((size, ranges, wanted, hint) =>
        {
            PRTL_BITMAP map = New((uint)size);
            bool[] model = new bool[size];
            foreach ((bool set, int from, int length) in ranges)
            {
                int start = from % size, count = Math.Min(length, size - start);
                if (set) RtlSetBits(map, (uint)start, (uint)count);
                else RtlClearBits(map, (uint)start, (uint)count);
                Array.Fill(model, set, start, count);
            }
            Assert.Equal(model, Enumerable.Range(0, size).Select(i => (bool)RtlTestBit(map, (uint)i)));
            Assert.Equal((uint)model.Count(b => b), RtlNumberOfSetBits(map));
            Assert.Equal((uint)model.Count(b => !b), RtlNumberOfClearBits(map));
            hint %= size;
            Assert.Equal(Expected(false), RtlFindClearBits(map, (uint)wanted, (uint)hint));
            Assert.Equal(Expected(true), RtlFindSetBits(map, (uint)wanted, (uint)hint));

            uint Expected(bool value)
            {
                foreach (int start in Enumerable.Range(hint, size - hint).Concat(Enumerable.Range(0, hint)))
                {
                    if (start + wanted <= size && model.AsSpan(start, wanted).IndexOf(!value) < 0) return (uint)start;
                }
                return 0xFFFFFFFF;
            }
        }, iter: 300, threads: 1);
    });

    [Fact]
    public void Runs_and_ranges_are_looked_at_and_taken() => Run(() =>
    {
        PRTL_BITMAP map = New(40);
        RtlSetAllBits(map);
        RtlClearBit(map, 3);
        RtlClearBits(map, 10, 4);
        RtlClearBits(map, 36, 4);
        Assert.Equal(1u, RtlFindFirstRunClear(map, out uint start));
        Assert.Equal(3u, start);
        Assert.Equal(4u, RtlFindLongestRunClear(map, out start));
        Assert.Equal(10u, start);
        Assert.Equal(2u, RtlFindNextForwardRunClear(map, 12, out start));
        Assert.Equal(12u, start);
        Assert.True(RtlAreBitsClear(map, 10, 4));
        Assert.False(RtlAreBitsClear(map, 9, 4));
        Assert.False(RtlAreBitsClear(map, 38, 4));
        Assert.True(RtlAreBitsSet(map, 14, 22));
        Assert.Equal(36u, RtlFindClearBitsAndSet(map, 4, 20));
        Assert.True(RtlAreBitsSet(map, 36, 4));
        Assert.Equal(14u, RtlFindSetBitsAndClear(map, 20, 0));
        RtlSetBit(map, 15);
        Assert.False(RtlAreBitsClear(map, 10, 10));
        RtlClearAllBits(map);
        Assert.Equal(40u, RtlFindFirstRunClear(map, out _));
        Assert.Equal(0xFFFFFFFFu, RtlFindClearBits(map, 41, 0));
    });
}
