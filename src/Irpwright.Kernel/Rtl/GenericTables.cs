using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Generic tables in the drivers' memory, kept as AVL trees. Callers synchronise; IRQL &lt; DISPATCH_LEVEL if anything is pageable.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-rtlinitializegenerictableavl"/>
public sealed class GenericTables
{
    const uint LinksSize = RTL_BALANCED_LINKS.SizeOf;

    readonly Machine machine;

    internal GenericTables(Machine machine) => this.machine = machine;

    /// <summary>Prepares an empty table.</summary>
    /// <param name="CompareRoutine">Orders two elements.</param>
    /// <param name="AllocateRoutine">Gives memory for an element and the links before it; null when there is none.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void RtlInitializeGenericTableAvl(PRTL_AVL_TABLE Table, PRTL_AVL_COMPARE_ROUTINE CompareRoutine, PRTL_AVL_ALLOCATE_ROUTINE AllocateRoutine,
        PRTL_AVL_FREE_ROUTINE FreeRoutine, PVOID TableContext)
    {
        Table.Value = new RTL_AVL_TABLE
        {
            CompareRoutine = CompareRoutine, AllocateRoutine = AllocateRoutine, FreeRoutine = FreeRoutine, TableContext = TableContext,
        };
        Table.BalancedRoot.Parent = RootOf(Table);
    }

    /// <summary>Adds a copy of an element, unless one that compares equal is there.</summary>
    /// <param name="BufferSize">Bytes of the element.</param>
    /// <param name="NewElement">May be null; whether it was added.</param>
    /// <returns>The element in the table; null when memory is short.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlInsertElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer, uint BufferSize, PUCHAR NewElement)
    {
        PRTL_BALANCED_LINKS parent = RootOf(Table);
        bool isRight = true;
        for (PRTL_BALANCED_LINKS at = parent.RightChild; !at.IsNull;)
        {
            RTL_GENERIC_COMPARE_RESULTS order = Compare(Table, Buffer, ElementOf(at));
            if (order == RTL_GENERIC_COMPARE_RESULTS.GenericEqual) return Answer(at, false);
            (parent, isRight) = (at, order == RTL_GENERIC_COMPARE_RESULTS.GenericGreaterThan);
            at = isRight ? at.RightChild : at.LeftChild;
        }
        PVOID memory = machine.Code.Call(Table.AllocateRoutine, Table, BufferSize + LinksSize);
        if (memory.IsNull) return Answer(default, false);
        PRTL_BALANCED_LINKS added = new(memory.Address);
        added.Value = new RTL_BALANCED_LINKS { Parent = parent };
        machine.MemoryRoutines.RtlMoveMemory(ElementOf(added), Buffer, BufferSize);
        SetChild(parent, isRight, added);
        Table.NumberGenericTableElements++;
        Table.OrderedPointer = default;
        Grown(Table, added);
        return Answer(added, true);

        PVOID Answer(PRTL_BALANCED_LINKS node, bool isNew)
        {
            if (!NewElement.IsNull) NewElement.Value = (byte)(isNew ? 1 : 0);
            return node.IsNull ? default : ElementOf(node);
        }
    }

    /// <summary>Removes the element that compares equal, and has its memory freed.</summary>
    /// <returns>FALSE if there is none.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN RtlDeleteElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer)
    {
        PRTL_BALANCED_LINKS doomed = FindNode(Table, Buffer);
        if (doomed.IsNull) return false;
        if (Table.RestartKey == doomed) Table.RestartKey = Previous(Table, doomed);
        Table.OrderedPointer = default;
        Table.DeleteCount++;
        Table.NumberGenericTableElements--;
        Remove(Table, doomed);
        machine.Code.Call(Table.FreeRoutine, Table, new PVOID(doomed.Address));
        return true;
    }

    /// <summary>The element that compares equal; null if there is none.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlLookupElementGenericTableAvl(PRTL_AVL_TABLE Table, PVOID Buffer) => ElementOrNull(FindNode(Table, Buffer));

    /// <summary>The n-th element in order, counted from 0; null if there are fewer.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlGetElementGenericTableAvl(PRTL_AVL_TABLE Table, uint I)
    {
        PRTL_BALANCED_LINKS node = First(Table);
        for (uint n = 0; n < I && !node.IsNull; n++) node = Next(Table, node);
        return ElementOrNull(node);
    }

    /// <summary>The next element in order.</summary>
    /// <param name="Restart">TRUE for the first one.</param>
    /// <returns>Null behind the last one.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlEnumerateGenericTableAvl(PRTL_AVL_TABLE Table, BOOLEAN Restart)
    {
        if (Restart) Table.RestartKey = default;
        PRTL_BALANCED_LINKS next = Table.RestartKey.IsNull ? First(Table) : Next(Table, Table.RestartKey);
        if (!next.IsNull) Table.RestartKey = next;
        return ElementOrNull(next);
    }

    /// <summary>The next element in order, with the place kept by the caller.</summary>
    /// <param name="RestartKey">A variable that is null for the first element.</param>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public PVOID RtlEnumerateGenericTableWithoutSplayingAvl(PRTL_AVL_TABLE Table, ref PVOID RestartKey)
    {
        PRTL_BALANCED_LINKS next = RestartKey.IsNull ? First(Table) : Next(Table, new PRTL_BALANCED_LINKS(RestartKey.Address));
        if (!next.IsNull) RestartKey = new PVOID(next.Address);
        return ElementOrNull(next);
    }

    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public uint RtlNumberGenericTableElementsAvl(PRTL_AVL_TABLE Table) => Table.NumberGenericTableElements;

    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public BOOLEAN RtlIsGenericTableEmptyAvl(PRTL_AVL_TABLE Table) => Table.NumberGenericTableElements == 0;

    // ---- The tree: the table's own links are above its root, which is their right child

    static PRTL_BALANCED_LINKS RootOf(PRTL_AVL_TABLE table) => new(table.Address);

    static PVOID ElementOf(PRTL_BALANCED_LINKS node) => new(node.Address + LinksSize);

    static PVOID ElementOrNull(PRTL_BALANCED_LINKS node) => node.IsNull ? default : ElementOf(node);

    RTL_GENERIC_COMPARE_RESULTS Compare(PRTL_AVL_TABLE table, PVOID first, PVOID second) => machine.Code.Call(table.CompareRoutine, table, first, second);

    PRTL_BALANCED_LINKS FindNode(PRTL_AVL_TABLE table, PVOID wanted)
    {
        PRTL_BALANCED_LINKS at = RootOf(table).RightChild;
        while (!at.IsNull)
        {
            RTL_GENERIC_COMPARE_RESULTS order = Compare(table, wanted, ElementOf(at));
            if (order == RTL_GENERIC_COMPARE_RESULTS.GenericEqual) break;
            at = order == RTL_GENERIC_COMPARE_RESULTS.GenericLessThan ? at.LeftChild : at.RightChild;
        }
        return at;
    }

    static PRTL_BALANCED_LINKS First(PRTL_AVL_TABLE table)
    {
        PRTL_BALANCED_LINKS root = RootOf(table).RightChild;
        return root.IsNull ? default : Outermost(root, isRight: false);
    }

    static PRTL_BALANCED_LINKS Outermost(PRTL_BALANCED_LINKS node, bool isRight)
    {
        while (Child(node, isRight) is { IsNull: false } child) node = child;
        return node;
    }

    static PRTL_BALANCED_LINKS Next(PRTL_AVL_TABLE table, PRTL_BALANCED_LINKS node) => Neighbour(table, node, isRight: true);

    static PRTL_BALANCED_LINKS Previous(PRTL_AVL_TABLE table, PRTL_BALANCED_LINKS node) => Neighbour(table, node, isRight: false);

    static PRTL_BALANCED_LINKS Neighbour(PRTL_AVL_TABLE table, PRTL_BALANCED_LINKS node, bool isRight)
    {
        if (Child(node, isRight) is { IsNull: false } child) return Outermost(child, !isRight);
        PRTL_BALANCED_LINKS top = RootOf(table);
        while (node.Parent != top)
        {
            if (Child(node.Parent, !isRight) == node) return node.Parent;
            node = node.Parent;
        }
        return default;
    }

    static PRTL_BALANCED_LINKS Child(PRTL_BALANCED_LINKS node, bool isRight) => isRight ? node.RightChild : node.LeftChild;

    static void SetChild(PRTL_BALANCED_LINKS parent, bool isRight, PRTL_BALANCED_LINKS child)
    {
        if (isRight) parent.RightChild = child;
        else parent.LeftChild = child;
        if (!child.IsNull) child.Parent = parent;
    }

    // A leaf was added: the subtrees above it grew by one, up to the first that was out of balance the other way.
    static void Grown(PRTL_AVL_TABLE table, PRTL_BALANCED_LINKS node)
    {
        PRTL_BALANCED_LINKS top = RootOf(table);
        for (; node.Parent != top; node = node.Parent)
        {
            PRTL_BALANCED_LINKS parent = node.Parent;
            int side = parent.RightChild == node ? 1 : -1;
            parent.Balance += (sbyte)side;
            if (parent.Balance == 0) return;
            if (parent.Balance != side)
            {
                Rotate(parent);
                return;
            }
        }
        table.DepthOfTree++;
    }

    static void Remove(PRTL_AVL_TABLE table, PRTL_BALANCED_LINKS doomed)
    {
        if (!doomed.LeftChild.IsNull && !doomed.RightChild.IsNull) ExchangeWithNext(doomed);
        PRTL_BALANCED_LINKS parent = doomed.Parent;
        bool isRight = parent.RightChild == doomed;
        SetChild(parent, isRight, doomed.LeftChild.IsNull ? doomed.RightChild : doomed.LeftChild);
        Shrunk(table, parent, isRight);
    }

    // The next node in order has no left child, so the doomed one can leave from its place.
    static void ExchangeWithNext(PRTL_BALANCED_LINKS doomed)
    {
        PRTL_BALANCED_LINKS next = Outermost(doomed.RightChild, isRight: false);
        RTL_BALANCED_LINKS before = doomed.Value, after = next.Value;
        bool isRight = before.Parent.RightChild == doomed;
        bool isChild = after.Parent == doomed;
        SetChild(before.Parent, isRight, next);
        SetChild(next, false, before.LeftChild);
        next.Balance = before.Balance;
        if (isChild)
        {
            SetChild(next, true, doomed);
        }
        else
        {
            SetChild(next, true, before.RightChild);
            SetChild(after.Parent, false, doomed);
        }
        doomed.LeftChild = default;
        SetChild(doomed, true, after.RightChild);
        doomed.Balance = after.Balance;
    }

    // One side of a node lost one level: those above did too, up to the first that stays as deep on its other side.
    static void Shrunk(PRTL_AVL_TABLE table, PRTL_BALANCED_LINKS node, bool isRight)
    {
        PRTL_BALANCED_LINKS top = RootOf(table);
        while (node != top)
        {
            int other = isRight ? -1 : 1;
            node.Balance += (sbyte)other;
            if (node.Balance == other) return;
            if (node.Balance != 0)
            {
                node = Rotate(node);
                if (node.Balance != 0) return;
            }
            isRight = node.Parent.RightChild == node;
            node = node.Parent;
        }
        table.DepthOfTree--;
    }

    /// <summary>Brings a node whose sides differ by two into balance; returns what stands in its place then.</summary>
    static PRTL_BALANCED_LINKS Rotate(PRTL_BALANCED_LINKS node)
    {
        bool heavyRight = node.Balance > 0;
        sbyte side = (sbyte)(heavyRight ? 1 : -1);
        PRTL_BALANCED_LINKS child = Child(node, heavyRight);
        if (child.Balance == -side)
        {
            PRTL_BALANCED_LINKS middle = Child(child, !heavyRight);
            sbyte balance = middle.Balance;
            Lift(middle, child);
            Lift(middle, node);
            node.Balance = (sbyte)(balance == side ? -side : 0);
            child.Balance = (sbyte)(balance == -side ? side : 0);
            middle.Balance = 0;
            return middle;
        }
        Lift(child, node);
        bool keepsDepth = child.Balance == 0;
        node.Balance = keepsDepth ? side : (sbyte)0;
        child.Balance = (sbyte)(keepsDepth ? -side : 0);
        return child;
    }

    /// <summary>Puts a child above its parent.</summary>
    static void Lift(PRTL_BALANCED_LINKS child, PRTL_BALANCED_LINKS parent)
    {
        bool isRight = parent.RightChild == child;
        PRTL_BALANCED_LINKS above = parent.Parent;
        bool parentIsRight = above.RightChild == parent;
        SetChild(parent, isRight, Child(child, !isRight));
        SetChild(child, !isRight, parent);
        SetChild(above, parentIsRight, child);
    }
}
