using CsCheck;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class GenericTableTests : DriverTest
{
    int allocations;
    bool memoryIsShort;

    PRTL_AVL_TABLE New()
    {
        var table = new PRTL_AVL_TABLE(Memory(RTL_AVL_TABLE.SizeOf).Address);
        RtlInitializeGenericTableAvl(table, Routine((RTL_AVL_COMPARE_ROUTINE)((_, a, b) =>
        {
            int order = Value(a).CompareTo(Value(b));
            return order < 0 ? GenericLessThan : order > 0 ? GenericGreaterThan : GenericEqual;
        })), Routine((RTL_AVL_ALLOCATE_ROUTINE)((_, size) =>
        {
            if (memoryIsShort) return default;
            allocations++;
            return Memory((int)size);
        })), Routine((RTL_AVL_FREE_ROUTINE)((_, buffer) =>
        {
            allocations--;
            Free(buffer);
        })), default);
        return table;
    }

    static int Value(PVOID element) => GuestMemory.Ref<int>(element.Address);

    PVOID Key(int value)
    {
        PVOID key = Memory(4);
        GuestMemory.Ref<int>(key.Address) = value;
        return key;
    }

    IEnumerable<int> All(PRTL_AVL_TABLE table)
    {
        for (PVOID e = RtlEnumerateGenericTableAvl(table, true); !e.IsNull; e = RtlEnumerateGenericTableAvl(table, false)) yield return Value(e);
    }

    /// <summary>Depth of a subtree; checks that every node knows by how much its sides differ, and who its parent is.</summary>
    static int Depth(PRTL_BALANCED_LINKS node, PRTL_BALANCED_LINKS parent)
    {
        if (node.IsNull) return 0;
        Assert.Equal(parent, node.Parent);
        int left = Depth(node.LeftChild, node), right = Depth(node.RightChild, node);
        Assert.Equal(right - left, node.Balance);
        Assert.InRange(right - left, -1, 1);
        return 1 + Math.Max(left, right);
    }

    [Fact]
    public void A_table_is_a_sorted_set_in_a_balanced_tree() => Run(() =>
    {
        Gen.Select(Gen.Bool, Gen.Int[0, 60]).Array[0, 150].Sample(steps =>
        {
            PRTL_AVL_TABLE table = New();
            allocations = 0;
            SortedSet<int> model = [];
            PUCHAR isNew = new(Memory(1).Address);
            foreach ((bool insert, int value) in steps)
            {
                PVOID key = Key(value);
                if (insert)
                {
                    PVOID element = RtlInsertElementGenericTableAvl(table, key, 4, isNew);
                    Assert.Equal((value, model.Add(value)), (Value(element), isNew.Value != 0));
                }
                else
                {
                    Assert.Equal(model.Remove(value), (bool)RtlDeleteElementGenericTableAvl(table, key));
                }
                Free(key);
                var root = new PRTL_BALANCED_LINKS(table.Address);
                Assert.Equal((uint)Depth(root.RightChild, root), table.DepthOfTree);
            }
            Assert.Equal(model, All(table));
            Assert.Equal((uint)model.Count, RtlNumberGenericTableElementsAvl(table));
            Assert.Equal(model.Count == 0, (bool)RtlIsGenericTableEmptyAvl(table));
            Assert.Equal(model.Count, allocations);
            int[] sorted = [.. model];
            for (int i = 0; i < sorted.Length; i++) Assert.Equal(sorted[i], Value(RtlGetElementGenericTableAvl(table, (uint)i)));
            Assert.True(RtlGetElementGenericTableAvl(table, (uint)sorted.Length).IsNull);
        }, iter: 100, threads: 1);
    });

    [Fact]
    public void Elements_are_looked_up_and_enumerated_while_others_are_deleted() => Run(() =>
    {
        PRTL_AVL_TABLE table = New();
        foreach (int value in (int[])[5, 1, 9, 3, 7]) RtlInsertElementGenericTableAvl(table, Key(value), 4, default);
        Assert.Equal(7, Value(RtlLookupElementGenericTableAvl(table, Key(7))));
        Assert.True(RtlLookupElementGenericTableAvl(table, Key(6)).IsNull);
        Assert.Equal(1, Value(RtlEnumerateGenericTableAvl(table, true)));
        Assert.Equal(3, Value(RtlEnumerateGenericTableAvl(table, false)));
        RtlDeleteElementGenericTableAvl(table, Key(3));
        Assert.Equal(5, Value(RtlEnumerateGenericTableAvl(table, false)));
        PVOID place = default;
        List<int> seen = [];
        while (RtlEnumerateGenericTableWithoutSplayingAvl(table, ref place) is { IsNull: false } element) seen.Add(Value(element));
        Assert.Equal([1, 5, 7, 9], seen);
        memoryIsShort = true;
        Assert.True(RtlInsertElementGenericTableAvl(table, Key(2), 4, default).IsNull);
        Assert.Equal(5, Value(RtlInsertElementGenericTableAvl(table, Key(5), 4, default)));
    });
}
