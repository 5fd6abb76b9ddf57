using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Splay trees in the drivers' memory, and generic tables made of them. Callers synchronise.</summary>
/// <remarks>Whatever was used last is at the root. The parent of a root is the root itself.</remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-rtlinitializegenerictable"/>
public sealed class SplayTrees
{
    // Before an element lie its links and its place in the order of insertion.
    const ulong OrderOffset = RTL_SPLAY_LINKS.SizeOf, ElementOffset = OrderOffset + LIST_ENTRY.SizeOf;

    readonly Machine machine;

    internal SplayTrees(Machine machine) => this.machine = machine;

    // ---- Trees

    /// <summary>Makes a node the root of its tree. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The root.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PRTL_SPLAY_LINKS RtlSplay(PRTL_SPLAY_LINKS Links)
    {
        while (!IsRoot(Links))
        {
            PRTL_SPLAY_LINKS parent = Links.Parent;
            if (IsRoot(parent))
            {
                Lift(Links);
            }
            else if (IsLeft(parent) == IsLeft(Links))
            {
                Lift(parent);
                Lift(Links);
            }
            else
            {
                Lift(Links);
                Lift(Links);
            }
        }
        return Links;
    }

    /// <summary>Takes a node out of its tree, and makes the one above it the root. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>The root; null for an empty tree.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PRTL_SPLAY_LINKS RtlDelete(PRTL_SPLAY_LINKS Links)
    {
        PRTL_SPLAY_LINKS above = TakeOut(Links, out PRTL_SPLAY_LINKS root);
        return above.IsNull ? root : RtlSplay(above);
    }

    /// <summary>Takes a node out of its tree, which changes nowhere else. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <param name="Root">The root, before and after.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void RtlDeleteNoSplay(PRTL_SPLAY_LINKS Links, ref PRTL_SPLAY_LINKS Root)
    {
        PRTL_SPLAY_LINKS above = TakeOut(Links, out PRTL_SPLAY_LINKS root);
        while (!above.IsNull && !IsRoot(above)) above = above.Parent;
        Root = above.IsNull ? root : above;
    }

    /// <summary>The lowest node to the right of a node in its subtree; null if there is none. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PRTL_SPLAY_LINKS RtlSubtreeSuccessor(PRTL_SPLAY_LINKS Links) => Links.RightChild.IsNull ? default : Leftmost(Links.RightChild);

    /// <summary>The highest node to the left of a node in its subtree; null if there is none. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PRTL_SPLAY_LINKS RtlSubtreePredecessor(PRTL_SPLAY_LINKS Links)
    {
        PRTL_SPLAY_LINKS node = Links.LeftChild;
        while (!node.IsNull && !node.RightChild.IsNull) node = node.RightChild;
        return node;
    }

    /// <summary>The next node of the tree; null behind the last. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PRTL_SPLAY_LINKS RtlRealSuccessor(PRTL_SPLAY_LINKS Links)
    {
        if (!Links.RightChild.IsNull) return Leftmost(Links.RightChild);
        PRTL_SPLAY_LINKS node = Links;
        while (!IsRoot(node) && !IsLeft(node)) node = node.Parent;
        return IsRoot(node) ? default : node.Parent;
    }

    /// <summary>The node of the tree before this one; null before the first. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PRTL_SPLAY_LINKS RtlRealPredecessor(PRTL_SPLAY_LINKS Links)
    {
        if (!Links.LeftChild.IsNull) return RtlSubtreePredecessor(Links);
        PRTL_SPLAY_LINKS node = Links;
        while (!IsRoot(node) && IsLeft(node)) node = node.Parent;
        return IsRoot(node) ? default : node.Parent;
    }

    static bool IsRoot(PRTL_SPLAY_LINKS node) => node.Parent == node;

    static bool IsLeft(PRTL_SPLAY_LINKS node) => node.Parent.LeftChild == node;

    static PRTL_SPLAY_LINKS Leftmost(PRTL_SPLAY_LINKS node)
    {
        while (!node.LeftChild.IsNull) node = node.LeftChild;
        return node;
    }

    /// <summary>Puts a node above its parent.</summary>
    static void Lift(PRTL_SPLAY_LINKS node)
    {
        PRTL_SPLAY_LINKS parent = node.Parent, above = parent.Parent;
        bool isLeft = IsLeft(node), parentIsRoot = IsRoot(parent), parentIsLeft = !parentIsRoot && IsLeft(parent);
        SetChild(parent, isLeft, isLeft ? node.RightChild : node.LeftChild);
        SetChild(node, !isLeft, parent);
        if (parentIsRoot) node.Parent = node;
        else SetChild(above, parentIsLeft, node);
    }

    static void SetChild(PRTL_SPLAY_LINKS parent, bool isLeft, PRTL_SPLAY_LINKS child)
    {
        if (isLeft) parent.LeftChild = child;
        else parent.RightChild = child;
        if (!child.IsNull) child.Parent = parent;
    }

    /// <returns>The node above the place that became empty; null if that was the root.</returns>
    PRTL_SPLAY_LINKS TakeOut(PRTL_SPLAY_LINKS node, out PRTL_SPLAY_LINKS root)
    {
        root = default;
        if (!node.LeftChild.IsNull && !node.RightChild.IsNull) ExchangeWithPredecessor(node);
        PRTL_SPLAY_LINKS child = node.LeftChild.IsNull ? node.RightChild : node.LeftChild;
        if (IsRoot(node))
        {
            if (!child.IsNull) child.Parent = child;
            root = child;
            return default;
        }
        PRTL_SPLAY_LINKS above = node.Parent;
        SetChild(above, IsLeft(node), child);
        return above;
    }

    // The predecessor has no right child, so the node can leave from its place.
    void ExchangeWithPredecessor(PRTL_SPLAY_LINKS node)
    {
        PRTL_SPLAY_LINKS other = RtlSubtreePredecessor(node);
        RTL_SPLAY_LINKS before = node.Value, after = other.Value;
        bool isRoot = IsRoot(node), isLeft = !isRoot && IsLeft(node), isChild = after.Parent == node;
        if (isRoot) other.Parent = other;
        else SetChild(before.Parent, isLeft, other);
        SetChild(other, false, before.RightChild);
        if (isChild)
        {
            SetChild(other, true, node);
        }
        else
        {
            SetChild(other, true, before.LeftChild);
            SetChild(after.Parent, false, node);
        }
        SetChild(node, true, after.LeftChild);
        node.RightChild = default;
    }

    // ---- Tables

    /// <summary>Prepares an empty table.</summary>
    /// <param name="CompareRoutine">Orders two elements.</param>
    /// <param name="AllocateRoutine">Gives memory for an element and what lies before it; null when there is none.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void RtlInitializeGenericTable(PRTL_GENERIC_TABLE Table, PRTL_GENERIC_COMPARE_ROUTINE CompareRoutine, PRTL_GENERIC_ALLOCATE_ROUTINE AllocateRoutine,
        PRTL_GENERIC_FREE_ROUTINE FreeRoutine, PVOID TableContext)
    {
        Table.Value = new RTL_GENERIC_TABLE
        {
            CompareRoutine = CompareRoutine, AllocateRoutine = AllocateRoutine, FreeRoutine = FreeRoutine, TableContext = TableContext,
        };
        Lists.Initialize(OrderOf(Table));
    }

    /// <summary>Adds a copy of an element, unless one that compares equal is there.</summary>
    /// <param name="BufferSize">Bytes of the element.</param>
    /// <param name="NewElement">May be null; whether it was added.</param>
    /// <returns>The element in the table; null when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlInsertElementGenericTable(PRTL_GENERIC_TABLE Table, PVOID Buffer, uint BufferSize, PUCHAR NewElement)
    {
        RTL_GENERIC_COMPARE_RESULTS order = Search(Table, Buffer, out PRTL_SPLAY_LINKS node);
        bool isNew = node.IsNull || order != RTL_GENERIC_COMPARE_RESULTS.GenericEqual;
        if (isNew)
        {
            PRTL_SPLAY_LINKS added = new(machine.Code.Call(Table.AllocateRoutine, Table, BufferSize + (uint)ElementOffset).Address);
            if (added.IsNull)
            {
                isNew = false;
                node = default;
            }
            else
            {
                added.Value = new RTL_SPLAY_LINKS { Parent = added };
                if (!node.IsNull) SetChild(node, order == RTL_GENERIC_COMPARE_RESULTS.GenericLessThan, added);
                node = added;
                Lists.InsertTail(OrderOf(Table), new PLIST_ENTRY(added.Address + OrderOffset));
                machine.MemoryRoutines.RtlMoveMemory(ElementOf(added), Buffer, BufferSize);
                Table.NumberGenericTableElements++;
            }
        }
        if (!NewElement.IsNull) NewElement.Value = (byte)(isNew ? 1 : 0);
        if (node.IsNull) return default;
        Table.TableRoot = RtlSplay(node);
        return ElementOf(node);
    }

    /// <summary>Removes the element that compares equal, and has its memory freed.</summary>
    /// <returns>FALSE if there is none.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN RtlDeleteElementGenericTable(PRTL_GENERIC_TABLE Table, PVOID Buffer)
    {
        if (Search(Table, Buffer, out PRTL_SPLAY_LINKS node) != RTL_GENERIC_COMPARE_RESULTS.GenericEqual || node.IsNull) return false;
        Table.TableRoot = RtlDelete(node);
        Lists.Remove(new PLIST_ENTRY(node.Address + OrderOffset));
        Table.NumberGenericTableElements--;
        machine.Code.Call(Table.FreeRoutine, Table, new PVOID(node.Address));
        return true;
    }

    /// <summary>The element that compares equal; null if there is none.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlLookupElementGenericTable(PRTL_GENERIC_TABLE Table, PVOID Buffer)
    {
        RTL_GENERIC_COMPARE_RESULTS order = Search(Table, Buffer, out PRTL_SPLAY_LINKS node);
        if (node.IsNull) return default;
        Table.TableRoot = RtlSplay(node);
        return order == RTL_GENERIC_COMPARE_RESULTS.GenericEqual ? ElementOf(node) : default;
    }

    /// <summary>The n-th element in the order of insertion, counted from 0; null if there are fewer.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlGetElementGenericTable(PRTL_GENERIC_TABLE Table, uint I)
    {
        if (I >= Table.NumberGenericTableElements) return default;
        PLIST_ENTRY entry = OrderOf(Table).Flink;
        for (uint n = 0; n < I; n++) entry = entry.Flink;
        return new PVOID(entry.Address + LIST_ENTRY.SizeOf);
    }

    /// <summary>The next element in order, which becomes the root: an element used meanwhile changes what is next.</summary>
    /// <param name="Restart">TRUE for the first one.</param>
    /// <returns>Null behind the last one.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlEnumerateGenericTable(PRTL_GENERIC_TABLE Table, BOOLEAN Restart)
    {
        if (Table.TableRoot.IsNull) return default;
        PRTL_SPLAY_LINKS next = Restart ? Leftmost(Table.TableRoot) : RtlRealSuccessor(Table.TableRoot);
        if (next.IsNull) return default;
        Table.TableRoot = RtlSplay(next);
        return ElementOf(next);
    }

    /// <summary>The next element in order, with the place kept by the caller; the tree stays as it is.</summary>
    /// <param name="RestartKey">A variable that is null for the first element.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlEnumerateGenericTableWithoutSplaying(PRTL_GENERIC_TABLE Table, ref PVOID RestartKey)
    {
        if (Table.TableRoot.IsNull) return default;
        PRTL_SPLAY_LINKS next = RestartKey.IsNull ? Leftmost(Table.TableRoot) : RtlRealSuccessor(new PRTL_SPLAY_LINKS(RestartKey.Address));
        if (next.IsNull) return default;
        RestartKey = next;
        return ElementOf(next);
    }

    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint RtlNumberGenericTableElements(PRTL_GENERIC_TABLE Table) => Table.NumberGenericTableElements;

    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN RtlIsGenericTableEmpty(PRTL_GENERIC_TABLE Table) => Table.TableRoot.IsNull;

    static PLIST_ENTRY OrderOf(PRTL_GENERIC_TABLE table) => new(table.Address + 8);

    static PVOID ElementOf(PRTL_SPLAY_LINKS node) => new(node.Address + ElementOffset);

    /// <param name="node">Where the search ended; null in an empty table.</param>
    RTL_GENERIC_COMPARE_RESULTS Search(PRTL_GENERIC_TABLE table, PVOID wanted, out PRTL_SPLAY_LINKS node)
    {
        var order = RTL_GENERIC_COMPARE_RESULTS.GenericEqual;
        node = default;
        for (PRTL_SPLAY_LINKS at = table.TableRoot; !at.IsNull;)
        {
            node = at;
            order = machine.Code.Call(table.CompareRoutine, table, wanted, ElementOf(at));
            if (order == RTL_GENERIC_COMPARE_RESULTS.GenericEqual) break;
            at = order == RTL_GENERIC_COMPARE_RESULTS.GenericLessThan ? at.LeftChild : at.RightChild;
        }
        return order;
    }
}
