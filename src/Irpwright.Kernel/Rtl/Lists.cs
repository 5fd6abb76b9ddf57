using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Doubly linked lists in guest memory: what the WDK's list macros do.</summary>
public static class Lists
{
    public static void Initialize(PLIST_ENTRY head) => head.Flink = head.Blink = head;

    public static bool IsEmpty(PLIST_ENTRY head) => head.Flink == head;

    public static void InsertTail(PLIST_ENTRY head, PLIST_ENTRY entry)
    {
        PLIST_ENTRY last = head.Blink;
        entry.Flink = head;
        entry.Blink = last;
        last.Flink = entry;
        head.Blink = entry;
    }

    /// <summary>Takes an entry out of the list it is in and links it to itself.</summary>
    public static void Remove(PLIST_ENTRY entry)
    {
        PLIST_ENTRY next = entry.Flink;
        PLIST_ENTRY previous = entry.Blink;
        previous.Flink = next;
        next.Blink = previous;
        entry.Flink = entry.Blink = entry;
    }
}

/// <summary>The same under their WDK names, for C# drivers.</summary>
public abstract partial class WdmDriver
{
    /// <summary>Makes a list empty.</summary>
    protected static void InitializeListHead(PLIST_ENTRY ListHead) => Lists.Initialize(ListHead);

    protected static bool IsListEmpty(PLIST_ENTRY ListHead) => Lists.IsEmpty(ListHead);

    protected static void InsertTailList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry) => Lists.InsertTail(ListHead, Entry);

    protected static void InsertHeadList(PLIST_ENTRY ListHead, PLIST_ENTRY Entry) => Lists.InsertTail(ListHead.Flink, Entry);

    /// <summary>Removes an entry; true if the list is empty afterwards.</summary>
    protected static bool RemoveEntryList(PLIST_ENTRY Entry)
    {
        bool last = Entry.Flink == Entry.Blink;
        Entry.Blink.Flink = Entry.Flink;
        Entry.Flink.Blink = Entry.Blink;
        return last;
    }

    /// <summary>Removes and returns the first entry; the head itself when the list is empty.</summary>
    protected static PLIST_ENTRY RemoveHeadList(PLIST_ENTRY ListHead)
    {
        PLIST_ENTRY first = ListHead.Flink;
        RemoveEntryList(first);
        return first;
    }
}
