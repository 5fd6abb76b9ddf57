using CsCheck;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Rtl;

public class SplayTreeTests : DriverTest
{
    int allocations;
    bool memoryIsShort;

    PRTL_GENERIC_TABLE New()
    {
        var table = new PRTL_GENERIC_TABLE(Memory(RTL_GENERIC_TABLE.SizeOf).Address);
        RtlInitializeGenericTable(table, Routine((RTL_GENERIC_COMPARE_ROUTINE)((_, a, b) =>
        {
            int order = Value(a).CompareTo(Value(b));
            return order < 0 ? GenericLessThan : order > 0 ? GenericGreaterThan : GenericEqual;
        })), Routine((RTL_GENERIC_ALLOCATE_ROUTINE)((_, size) =>
        {
            if (memoryIsShort) return default;
            allocations++;
            return Memory((int)size);
        })), Routine((RTL_GENERIC_FREE_ROUTINE)((_, buffer) =>
        {
            allocations--;
            Free(buffer);
        })), default);
        return table;
    }

    static int Value(PVOID element) => GuestMemory.Ref<int>(element.Address);

    static int Value(PRTL_SPLAY_LINKS node) => GuestMemory.Ref<int>(node.Address + 0x28);

    PVOID Key(int value)
    {
        PVOID key = Memory(4);
        GuestMemory.Ref<int>(key.Address) = value;
        return key;
    }

    /// <summary>The nodes of a subtree in order; checks that every node knows its parent.</summary>
    static IEnumerable<PRTL_SPLAY_LINKS> InOrder(PRTL_SPLAY_LINKS node, PRTL_SPLAY_LINKS parent)
    {
        if (node.IsNull) yield break;
        Assert.Equal(parent, node.Parent);
        foreach (PRTL_SPLAY_LINKS left in InOrder(node.LeftChild, node)) yield return left;
        yield return node;
        foreach (PRTL_SPLAY_LINKS right in InOrder(node.RightChild, node)) yield return right;
    }

    static PRTL_SPLAY_LINKS[] Nodes(PRTL_SPLAY_LINKS root) => [.. InOrder(root, root)];

    enum What
    {
        Insert,
        Delete,
        LookUp,
    }

    [Fact]
    public void A_table_is_a_sorted_set_whose_root_was_used_last() => Run(() =>
    {
        Gen.Select(Gen.Enum<What>(), Gen.Int[0, 40]).Array[0, 120].Sample(steps =>
        {
            PRTL_GENERIC_TABLE table = New();
            allocations = 0;
            List<int> model = [];
            PUCHAR isNew = new(Memory(1).Address);
            foreach ((What what, int value) in steps)
            {
                PVOID key = Key(value);
                bool known = model.Contains(value);
                switch (what)
                {
                    case What.Insert:
                        Assert.Equal(value, Value(RtlInsertElementGenericTable(table, key, 4, isNew)));
                        Assert.Equal(!known, isNew.Value != 0);
                        if (!known) model.Add(value);
                        Assert.Equal(value, Value(table.TableRoot));
                        break;
                    case What.Delete:
                        Assert.Equal(model.Remove(value), (bool)RtlDeleteElementGenericTable(table, key));
                        break;
                    default:
                        PVOID found = RtlLookupElementGenericTable(table, key);
                        Assert.Equal(known, !found.IsNull);
                        if (known) Assert.Equal((value, value), (Value(found), Value(table.TableRoot)));
                        break;
                }
                Free(key);
                Assert.Equal(model.Order(), Nodes(table.TableRoot).Select(Value));
            }
            Assert.Equal((uint)model.Count, RtlNumberGenericTableElements(table));
            Assert.Equal(model.Count == 0, (bool)RtlIsGenericTableEmpty(table));
            Assert.Equal(model.Count, allocations);
            for (int i = 0; i < model.Count; i++) Assert.Equal(model[i], Value(RtlGetElementGenericTable(table, (uint)i)));
            Assert.True(RtlGetElementGenericTable(table, (uint)model.Count).IsNull);
            List<int> enumerated = [];
            for (PVOID e = RtlEnumerateGenericTable(table, true); !e.IsNull; e = RtlEnumerateGenericTable(table, false)) enumerated.Add(Value(e));
            Assert.Equal(model.Order(), enumerated);
            PVOID place = default;
            enumerated.Clear();
            PRTL_SPLAY_LINKS root = table.TableRoot;
            while (RtlEnumerateGenericTableWithoutSplaying(table, ref place) is { IsNull: false } element) enumerated.Add(Value(element));
            Assert.Equal(model.Order(), enumerated);
            Assert.Equal(root, table.TableRoot);
        }, iter: 100, threads: 1);
    });

    [Fact]
    public void Without_memory_nothing_is_inserted() => Run(() =>
    {
        PRTL_GENERIC_TABLE table = New();
        RtlInsertElementGenericTable(table, Key(5), 4, default);
        memoryIsShort = true;
        Assert.True(RtlInsertElementGenericTable(table, Key(2), 4, default).IsNull);
        Assert.Equal(5, Value(RtlInsertElementGenericTable(table, Key(5), 4, default)));
        Assert.Equal(1u, RtlNumberGenericTableElements(table));
    });

    [Fact]
    public void Trees_of_the_drivers_own_are_walked_splayed_and_cut() => Run(() =>
    {
        PRTL_GENERIC_TABLE table = New();
        foreach (int value in (int[])[4, 2, 6, 1, 3, 5, 7]) RtlInsertElementGenericTable(table, Key(value), 4, default);
        PRTL_SPLAY_LINKS[] nodes = Nodes(table.TableRoot);
        for (int i = 0; i < nodes.Length; i++)
        {
            Assert.Equal(i + 1 < nodes.Length ? nodes[i + 1] : default, RtlRealSuccessor(nodes[i]));
            Assert.Equal(i > 0 ? nodes[i - 1] : default, RtlRealPredecessor(nodes[i]));
        }
        PRTL_SPLAY_LINKS root = RtlSplay(nodes[3]);
        Assert.Equal(nodes[3], root);
        Assert.Equal(nodes, Nodes(root));
        Assert.Equal((nodes[4], nodes[2]), (RtlSubtreeSuccessor(root), RtlSubtreePredecessor(root)));
        Assert.True(RtlSubtreeSuccessor(nodes[6]).IsNull && RtlSubtreePredecessor(nodes[0]).IsNull);
        RtlDeleteNoSplay(nodes[0], ref root);
        Assert.Equal(nodes[3], root);
        RtlDeleteNoSplay(nodes[3], ref root);
        Assert.Equal([nodes[1], nodes[2], .. nodes[4..]], Nodes(root));
        foreach (PRTL_SPLAY_LINKS node in Nodes(root)) root = RtlDelete(node);
        Assert.True(root.IsNull);
    });
}
